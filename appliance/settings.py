"""What can be set on a box: one frozen class for each section of the settings file.

Every field carries its documentation, its unit where it has one, and a default. `appliance.config` reads the file and
the environment into them.
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from appliance.work import Autonomy


class Section(BaseModel):
    """A group of settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class GatewaySettings(Section):
    """The door to the models."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8080, ge=1, le=65535, description="TCP port")
    tls: bool = Field(False, description="speak TLS there, with the box's certificate, and nothing else")
    request_timeout_seconds: float = Field(600.0, gt=0, description="longest time one answer may take, in seconds")
    turn_seconds: float = Field(
        15.0, ge=0, description="how long a loaded model answers while others wait for its place, in seconds"
    )
    queue_seconds: float = Field(60.0, ge=0, description="longest wait for a model to be ready, in seconds")
    retries: int = Field(2, ge=0, le=10, description="tries again with the same model before the next one is taken")
    max_body_mb: int = Field(32, ge=1, description="largest request body, in MiB")
    parallel: int = Field(512, ge=1, description="calls under way at once; more wait up to `queue_seconds`")
    batch_percent: int = Field(75, ge=1, le=100, description="part of these places batch calls may take, in percent")
    keepalive_seconds: float = Field(
        10.0, gt=0, description="silence in a stream after which a comment line tells clients to wait on, in seconds"
    )
    drain_seconds: float = Field(
        10.0, ge=0, description="how long answers may go on once the gateway is told to stop, in seconds"
    )
    cooldown_seconds: float = Field(
        1.0, ge=0, description="how long an engine that was lost or busy is avoided when another can answer, in seconds"
    )
    circuit_failures: int = Field(6, ge=0, description="failures in a row that stop calls to a model; 0 means never")
    circuit_seconds: float = Field(15.0, gt=0, description="how long they stop before one may try again, in seconds")
    policy_days: float = Field(14.0, gt=0, description="age at which a learned policy is used no longer, in days")
    explore_share: float = Field(
        0.0, ge=0, le=0.5, description="share of a day's choices that try another candidate first; 0 tries none"
    )
    explore_seed: int = Field(
        0, ge=0, description="makes these draws the same at every start, for trials; 0: by chance"
    )
    episodes_kept: int = Field(
        10000, ge=0, description="episodes (`x-appliance-episode`) whose model is kept in memory; 0 keeps none"
    )
    transcript_days: int = Field(
        0, ge=0, description="how long prompts and answers are kept in spool/transcripts-*, in days; 0 keeps none"
    )
    responses_kept: int = Field(
        200, ge=0, description="answers of /v1/responses kept in memory for `previous_response_id`; 0 keeps none"
    )


class ConsoleSettings(Section):
    """The operator's pages and JSON API."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8081, ge=1, le=65535, description="TCP port")
    tls: bool = Field(False, description="speak TLS there, with the box's certificate, and nothing else")
    threads: int = Field(16, ge=2, description="requests answered at once, live streams included")
    clones: int = Field(4, ge=0, description="clones and fetches of mirrors served at once; 0 serves none")
    host_names: list[str] = Field(
        default_factory=list, description="names people reach the console by, besides localhost and the host's own name"
    )
    url: str = Field(
        "", description="address people and forges reach it at, like https://factory.example; links use it"
    )

    upload_gb: float = Field(200.0, gt=0, description="models on their way in from browsers and programs, in GiB")
    upload_hours: float = Field(48.0, gt=0, description="how long an upload that stopped is kept, in hours")

    session_hours: float = Field(12.0, gt=0, le=720, description="how long a browser stays signed in, in hours")
    idle_minutes: float = Field(60.0, gt=0, description="how long it stays signed in without being used, in minutes")
    given_password_hours: float = Field(
        24.0, gt=0, le=8760, description="how long a password that somebody else gave lets in, in hours"
    )

    oidc_issuer: str = Field("", description="address of the site's identity provider; empty: only passwords")
    oidc_client_id: str = Field("appliance", description="by which name the identity provider knows this console")
    oidc_secret_file: str = Field("", description="file with the secret it gave to this console; empty for none")
    oidc_ca_file: str = Field("", description="PEM file of the CA that vouches for it; empty for the machine's")
    oidc_groups_claim: str = Field("groups", description="where its tokens name a person's groups")
    oidc_roles: list[str] = Field(
        default_factory=list, description='role for each group, like "factory-admins=administrator"; the highest counts'
    )

    @field_validator("oidc_roles")
    @classmethod
    def _are_roles(cls, lines: list[str]) -> list[str]:
        for line in lines:
            group, _, role = line.rpartition("=")
            if not group or role not in ("viewer", "developer", "operator", "administrator"):
                raise ValueError(f"{line!r} is not GROUP=viewer, developer, operator or administrator")
        return lines

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if url and (parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None):
            raise ValueError("an address like https://factory.example is needed")
        return url.rstrip("/")

    @property
    def address(self) -> str:
        """Where links point: `url`, else what the other settings make of it."""
        name = self.host_names[0] if self.host_names else self.host
        return self.url or f"{'https' if self.tls else 'http'}://{name}:{self.port}"

    @property
    def reached_by(self) -> tuple[str, ...]:
        """Names that people reach it by, as far as these settings say it."""
        of_url = urlsplit(self.url).hostname if self.url else None
        return tuple(dict.fromkeys([*([of_url] if of_url else []), *self.host_names]))

    @property
    def secure(self) -> bool:
        """Do browsers reach it over TLS, its own or that of a proxy in front?"""
        return self.tls or self.url.startswith("https://")


class CertificateSettings(Section):
    """The certificate of gateway and console, where they speak TLS."""

    file: str = Field(
        "", description="PEM file with a certificate and its chain that the site keeps; empty: the box's own"
    )
    key_file: str = Field("", description="PEM file with its key; empty: it is in `certificate.file`, too")
    renew_days: float = Field(
        60.0, ge=0, le=365, description="days before its end at which one of the box's own CA is renewed; 0: never"
    )


class EnginesSettings(Section):
    """The inference servers."""

    threads: int = Field(0, ge=0, description="CPU threads for all engines together; 0 means all cores but none twice")
    slots: int = Field(4, ge=1, description="requests one engine serves at once")
    context_tokens: int = Field(4096, ge=128, description="context per request, in tokens, capped by the model's own")
    start_seconds: float = Field(120.0, gt=0, description="how long a model may take to be ready, in seconds")
    preload: list[str] = Field(default_factory=list, description="model ids loaded at start; others load on demand")
    restart_limit: int = Field(3, ge=1, description="failed starts in a row after which a model is parked as failed")
    llama_server: str = Field("", description="path of another llama-server; empty means the installed one")
    llama_gpu: bool = Field(False, description="that llama-server is built for GPUs, and models go there")
    vllm: str = Field("", description="path of a Python that has vLLM, for safetensors models; empty means none")
    vllm_device: Literal["gpu", "cpu"] = Field("gpu", description="what that vLLM is built for: gpu or cpu")
    vllm_sleep: bool = Field(False, description="vLLM on GPUs sleeps, weights in RAM, before it is unloaded")
    ray_address: str = Field("", description="address of the Ray cluster for models spread over several nodes")


class ModelSettings(Section):
    """How one model is served: a section `[models."ID"]` for each that needs other than the rest."""

    context_tokens: int = Field(0, ge=0, description="context per request, in tokens; 0 means `engines.context_tokens`")
    slots: int = Field(0, ge=0, le=1024, description="requests served at once; 0 means `engines.slots`")
    cache_type: str = Field("f16", description="how keys and values are kept: f16, bf16, q8_0, q5_1, q4_0, fp8 …")
    pin: bool = Field(False, description="once loaded it is never unloaded to make room")
    idle_seconds: float = Field(0.0, ge=0, description="asleep or unloaded after so long without a call; 0 means never")
    asleep_seconds: float = Field(0.0, ge=0, description="unloaded after so long asleep; 0 means never")
    cost: float = Field(0.0, ge=0, description="what unloading it costs when room is needed; 0 means by its size")
    group: str = Field("", description="at most one model of a group is loaded at a time; empty for no group")
    gpus: list[int] = Field(default_factory=list, description="numbers of the GPUs it may use; empty means any")
    gpu_share: float = Field(0.0, ge=0, le=0.98, description="vLLM: share of each GPU it takes; 0 means what it needs")
    nodes: int = Field(1, ge=1, le=64, description="vLLM: machines it is spread over, through `engines.ray_address`")


class LineSettings(Section):
    """The assembly line."""

    workers: int = Field(2, ge=1, le=64, description="items worked on at once")
    lease_seconds: float = Field(
        60.0, gt=1, description="silence after which a worker's item is free again, in seconds"
    )
    crash_limit: int = Field(3, ge=1, description="workers an item may kill in one stage before a person must look")
    stage_retries: int = Field(5, ge=0, description="tries again when something a stage needs is away for a while")
    attempts: int = Field(3, ge=1, description="builds before an item needs a person")
    poll_seconds: float = Field(0.5, gt=0, description="pause between looks for new work, in seconds")
    sync_seconds: float = Field(60.0, gt=0, description="pause between polls of a mirror and its forge, in seconds")
    hooked_seconds: float = Field(900.0, gt=0, description="the same while its forge's webhooks arrive, in seconds")
    away_seconds: float = Field(
        3600.0, gt=0, description="longest pause between polls of a server that does not answer, in seconds"
    )
    fetches: int = Field(8, ge=1, le=64, description="mirrors polled at once")


class AutonomySettings(Section):
    """How far work may go without a person."""

    cap: Autonomy = Field(Autonomy.HIGH, description="highest level on this box: off, low, medium or high")
    max_files: int = Field(10, ge=1, description="files one change may touch without a person")
    max_lines: int = Field(400, ge=1, description="lines one change may add and remove without a person")
    protected_paths: list[str] = Field(
        default_factory=lambda: [
            ".github/**", ".gitlab-ci.yml", ".gitlab/**", ".gitea/**", ".forgejo/**", ".ci/**", "Jenkinsfile",
            ".pre-commit-config.yaml", ".git*", "**/conftest.py", "conftest.py", "pytest.ini", "tox.ini", "noxfile.py",
            "CODEOWNERS", "**/CODEOWNERS",
        ],
        description="glob patterns a change may never touch without a person",
    )  # fmt: skip


class RepairSettings(Section):
    """Repair by search, without a model."""

    cpu_seconds: float = Field(60.0, gt=0, description="CPU time for single edits, in seconds")
    pair_seconds: float = Field(300.0, ge=0, description="CPU time for pairs of edits, in seconds; 0 turns pairs off")
    plausible: int = Field(12, ge=1, description="passing patches collected before they are compared")
    processes: int = Field(0, ge=0, description="candidates validated at once; 0 means one per core")


class DroidSettings(Section):
    """Repair by a model that edits."""

    samples: int = Field(6, ge=1, le=100, description="tries: the first without chance, the rest at `temperature`")
    turns: int = Field(3, ge=1, le=20, description="answers in one try: a first one, then corrections after the tests")
    temperature: float = Field(0.8, ge=0, le=2, description="chance in every try after the first")
    plausible: int = Field(1, ge=1, description="passing changes collected before it stops")
    answer_tokens: int = Field(2048, ge=64, description="longest answer, in tokens")
    prompt_tokens: int = Field(16000, ge=1000, le=16000, description="longest prompt, in tokens (estimated)")
    total_tokens: int = Field(200000, ge=1000, description="tokens of all prompts and answers of one attempt")
    steps: int = Field(24, ge=1, description="answers of one attempt, whichever try they belong to")
    seconds: float = Field(1800.0, gt=0, description="wall time of one attempt, in seconds, tests included")
    format_errors: int = Field(3, ge=1, description="unusable answers in a row before it gives up")
    repeats: int = Field(3, ge=2, description="times the same edit meets the same result before it gives up")
    whole_lines: int = Field(150, ge=10, description="longest file or function a model may write anew, in lines")


class ComputersSettings(Section):
    """The sandboxes where droids and tests run."""

    tier: Literal["auto", "A", "B"] = Field("auto", description="auto takes the best this machine offers")
    seconds: float = Field(300.0, gt=0, description="wall time of one run of a repository's tests, in seconds")
    memory_mb: int = Field(2048, ge=64, description="memory of one run, in MiB")
    processes: int = Field(128, ge=4, description="processes and threads of one run")
    disk_mb: int = Field(512, ge=16, description="disk space one run may write, in MiB")
    output_kb: int = Field(4096, ge=16, description="output of one run that is kept, in KiB; more ends it")
    python: str = Field("", description="Python that runs the repositories' tests; empty means the box's own")
    pytest_plugins: bool = Field(False, description="let pytest load every plugin installed beside that Python")


class MirrorSettings(Section):
    """Git."""

    timeout_seconds: float = Field(300.0, gt=0, description="longest time of one fetch or push, in seconds")
    clone_seconds: float = Field(3600.0, gt=0, description="longest time of one clone or check of a mirror, in seconds")
    check_days: float = Field(7.0, gt=0, description="how often all that a mirror holds is checked, in days")
    lfs_max_mb: int = Field(10240, ge=1, description="room for one repository's files of Git LFS, in MiB")
    author_name: str = Field("Appliance", description="name on the box's commits")
    author_email: str = Field("appliance@localhost", description="address on the box's commits")
    push_retries: int = Field(5, ge=0, description="tries again, each from a fresh base, when a push is rejected")


class IntakeSettings(Section):
    """Messages from outside."""

    max_mb: int = Field(5, ge=1, le=100, description="largest webhook, mail or file, in MiB")
    hooks_per_minute: int = Field(600, ge=0, description="signed webhooks taken for a repository each minute; 0: all")
    secret_hours: float = Field(24.0, ge=0, description="how long a hook's old secret counts after a new one, in hours")
    raw_days: float = Field(30.0, gt=0, description="how long the bytes of settled messages are kept, in days")
    raw_mb: int = Field(1024, ge=1, description="room for these bytes, in MiB; at twice as many, mails wait")
    known_days: float = Field(
        365.0, gt=0, description="how long it is known that a message came, which makes its replay useless, in days"
    )
    clock_minutes: float = Field(
        5.0, gt=0, description="how far the time a webhook was signed with may lie from the box's own, in minutes"
    )
    mail_folder: str = Field("", description="maildir, or folder of .eml files, that is read; empty: spool/mail")
    mail_senders: list[str] = Field(
        default_factory=list, description="patterns of addresses that may report by mail, like *@site.example"
    )
    drop_folder: str = Field(
        "", description="folder with one for each repository, whose files are read; empty: spool/drop"
    )
    look_seconds: float = Field(5.0, gt=0, description="pause between looks into these folders, in seconds")
    quiet_seconds: float = Field(
        2.0, ge=0, description="how long nobody may have written to a file before it is taken, in seconds"
    )


class LearningSettings(Section):
    """The learning store."""

    memory_mb: int = Field(1024, ge=64, description="memory DuckDB may use, in MiB")
    batch_rows: int = Field(10000, ge=1, description="events taken over in one transaction")
    poll_seconds: float = Field(1.0, gt=0, description="pause between looks at the ledger, in seconds")
    calls_days: int = Field(400, ge=0, description="how long calls and their lines in the spool are kept; 0: always")
    texts_days: int = Field(
        0, ge=0, description="age in days at which the store's copy of words of people is emptied; 0: never"
    )
    friction_count: int = Field(5, ge=0, description="items with the same friction after which it is filed; 0: never")
    friction_days: float = Field(7.0, gt=0, description="within how many days these items are counted")
    repair_half_life_days: float = Field(180.0, gt=0, description="days after which a past repair counts half")
    replay_days: float = Field(
        7.0, ge=0, description="days between replays in quiet hours after models, rules or policy changed; 0: none"
    )
    replay_tasks: int = Field(10, ge=1, description="tasks of each repository that these replays try")
    train_hours: float = Field(24.0, ge=0, description="pause between trainings of the routing policy; 0: never")
    promote: Literal["person", "auto"] = Field(
        "person", description="who takes a published policy into use; auto: the box, if choices left to chance prove it"
    )
    lessons: int = Field(3, ge=0, le=10, description="lessons one prompt gets at most; 0: none")
    lesson_tokens: int = Field(400, ge=50, le=4000, description="room for them in a prompt, in tokens (estimated)")
    lesson_days: float = Field(180.0, gt=0, description="days without use after which a lesson is let go")
    lesson_successes: int = Field(2, ge=1, description="changes that held with a lesson which confirm it")
    lesson_failures: int = Field(3, ge=1, description="times the same happens despite a lesson until it is let go")


class BackupSettings(Section):
    """Backups."""

    folder: str = Field("", description="folder they go to, on another disk at best; empty: backups/ of the home")
    recipients: list[str] = Field(
        default_factory=list, description="public keys of age (age1…) that they are sealed for; none: none are made"
    )
    every_hours: float = Field(24.0, ge=0, description="pause between backups by schedule, in hours; 0: none")
    keep: int = Field(14, ge=1, description="newest backups that are kept")
    keep_days: float = Field(0.0, ge=0, description="newer backups than this are kept, too, in days")
    models: bool = Field(True, description="the models are in them; each is written once")
    warn_days: float = Field(3.0, ge=0, description="age of the newest one at which the box warns, in days; 0: never")

    @field_validator("recipients")
    @classmethod
    def _are_public(cls, keys: list[str]) -> list[str]:
        for key in keys:
            if not key.startswith("age1"):  # what else stands here may be a private key: it is not repeated
                raise ValueError("only public keys of age belong here; they begin with age1")
        return keys


class Settings(Section):
    """All settings of one box."""

    gateway: GatewaySettings = GatewaySettings()
    console: ConsoleSettings = ConsoleSettings()
    certificate: CertificateSettings = CertificateSettings()
    engines: EnginesSettings = EnginesSettings()
    models: dict[str, ModelSettings] = Field(default_factory=dict, description="by the model's id")
    line: LineSettings = LineSettings()
    autonomy: AutonomySettings = AutonomySettings()
    repair: RepairSettings = RepairSettings()
    droid: DroidSettings = DroidSettings()
    computers: ComputersSettings = ComputersSettings()
    mirror: MirrorSettings = MirrorSettings()
    intake: IntakeSettings = IntakeSettings()
    learning: LearningSettings = LearningSettings()
    backup: BackupSettings = BackupSettings()
