"""Typed settings: one TOML file in the home, overridden by `APPLIANCE_<SECTION>_<FIELD>`.

This module is the only reader of the environment. Every field carries its documentation, its unit where it has one,
and a default; the help page `settings.md` and `appliance config schema` come from here. Unknown keys are refused with
the nearest known name, so a typing error can never switch a protection off.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from appliance.errors import ConfigError
from appliance.work import Autonomy


class Section(BaseModel):
    """A group of settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class GatewaySettings(Section):
    """The door to the models."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8080, ge=1, le=65535, description="TCP port")
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
    threads: int = Field(16, ge=2, description="requests answered at once, live streams included")
    clones: int = Field(4, ge=0, description="clones and fetches of mirrors served at once; 0 serves none")
    host_names: list[str] = Field(
        default_factory=list, description="names people reach the console by, besides localhost and the host's own name"
    )
    url: str = Field(
        "", description="address people and forges reach it at, like https://factory.example; links use it"
    )

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
        return self.url or f"http://{name}:{self.port}"


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
    batch_rows: int = Field(1000, ge=1, description="events taken over in one transaction")
    poll_seconds: float = Field(1.0, gt=0, description="pause between looks at the ledger, in seconds")


class Settings(Section):
    """All settings of one box."""

    gateway: GatewaySettings = GatewaySettings()
    console: ConsoleSettings = ConsoleSettings()
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


class Home:
    """Where one box keeps everything. Knows names only: nothing is created here (see `appliance.cli.init`)."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.settings_file = self.root / "appliance.toml"
        self.secrets = self.root / "secrets"
        self.ledger = self.root / "ledger.db"
        self.learning = self.root / "learning.duckdb"
        self.policy = self.root / "policy"
        self.routes_file = self.policy / "routes.toml"
        self.policy_file = self.policy / "policy.json"
        self.models = self.root / "models"
        self.mirrors = self.root / "mirrors"
        self.computers = self.root / "computers"
        self.spool = self.root / "spool"
        self.logs = self.root / "logs"
        self.run = self.root / "run"
        self.backups = self.root / "backups"
        self.media = self.root / "media"  # made when the first repository comes on media

    @property
    def folders(self) -> tuple[Path, ...]:
        """Every folder a home has, `secrets` to be made 0700."""
        return (
            self.secrets, self.policy, self.models, self.mirrors, self.computers,
            self.spool, self.logs, self.run, self.backups,
        )  # fmt: skip

    @classmethod
    def from_environment(cls, option: str | None = None, environ: Mapping[str, str] = os.environ) -> Self:
        """The home named by `--home`, else by APPLIANCE_HOME, else `./var`."""
        return cls(Path(option or environ.get("APPLIANCE_HOME") or "var"))


ENVIRONMENT_PREFIX = "APPLIANCE_"
NOT_SETTINGS = frozenset({"APPLIANCE_HOME", "APPLIANCE_URL", "APPLIANCE_KEY", "APPLIANCE_CACHE"})
"""Variables with our prefix that are not a setting: the home, clients' address and key, and the build cache."""


def load(file: Path, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read settings from `file` (a missing file means defaults) and the environment.

    Raises:
        ConfigError: the file is not TOML, or a name or value cannot be accepted; all problems are named.
    """
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not valid TOML: {error}", "mend the line named, or move the file away") from error
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}", "make it readable for this user") from error
    for section, fields in _from_environment(environ).items():
        raw.setdefault(section, {}).update(fields)
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        problems = "; ".join(_in_words(problem) for problem in error.errors())
        raise ConfigError(
            f"settings are not valid: {problems}", f"mend {file}; `appliance config schema` lists all"
        ) from error


def _from_environment(environ: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name, text in environ.items():
        if not name.startswith(ENVIRONMENT_PREFIX) or name in NOT_SETTINGS:
            continue
        section, _, field = name.removeprefix(ENVIRONMENT_PREFIX).lower().partition("_")
        found.setdefault(section, {})[field] = _as_toml_value(text)
    return found


def _as_toml_value(text: str) -> Any:
    """A list, number or boolean written as TOML; anything else is the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _in_words(problem: Any) -> str:
    path = [str(part) for part in problem["loc"]]
    if problem["type"] != "extra_forbidden":
        return f"{'.'.join(path)}: {problem['msg']} (got {problem['input']!r})"
    known = Settings.model_fields if len(path) == 1 else _fields_of(path[0])
    near = difflib.get_close_matches(path[-1], known, n=1, cutoff=0.0)
    return f"{'.'.join(path)}: unknown; the nearest known name is {near[0]!r}" if near else f"{'.'.join(path)}: unknown"


def _fields_of(section: str) -> Mapping[str, Any]:
    field = Settings.model_fields.get(section)
    kind = ModelSettings if section == "models" else field.annotation if field else None
    return kind.model_fields if isinstance(kind, type) and issubclass(kind, BaseModel) else {}


def documented() -> list[dict[str, str]]:
    """Every setting as rows {name, default, description}, in the order of the file."""
    rows = []
    for section in Settings.model_fields:
        for name, field in _fields_of(section).items():
            default = field.get_default(call_default_factory=True)
            rows.append(
                {"name": f"{section}.{name}", "default": _toml(default), "description": field.description or ""}
            )
    return rows


def render(settings: Settings) -> str:
    """The settings as a commented TOML file."""
    lines = ["# Settings of this box. Every line may be left out; `appliance config check` verifies the file.", ""]
    for section in Settings.model_fields:
        value = getattr(settings, section)
        lines += [f"[{section}]"]
        if isinstance(value, dict):
            lines += ["# One section for each that needs other settings than the rest, named by its id.", ""]
            tables = {f"{section}.{_toml(id)}": one for id, one in value.items()}
        else:
            tables = {"": value}
        for heading, table in tables.items():
            lines += [f"[{heading}]"] if heading else []
            for name, field in _fields_of(section).items():
                lines += [f"# {field.description}", f"{name} = {_toml(getattr(table, name))}"]
            lines += [""]
    return "\n".join(lines)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        return "[" + ", ".join(_toml(entry) for entry in value) + "]"
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
