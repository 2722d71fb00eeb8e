"""The LiteLLM SDK: chat, a stream, a tool call and vectors, in the three lines of set-up that the help page tells."""

import json
import os

import litellm

URL, KEY = os.environ["GATEWAY_URL"], os.environ["GATEWAY_KEY"]
ours = {"model": "openai/coder", "api_base": f"{URL}/v1", "api_key": KEY}
hello = [{"role": "user", "content": "Hello?"}]
tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}

whole = litellm.completion(messages=hello, **ours)
pieces = list(litellm.completion(messages=hello, stream=True, stream_options={"include_usage": True}, **ours))
called = litellm.completion(
    messages=hello, tools=[tool], tool_choice={"type": "function", "function": {"name": "look"}}, **ours
)
vectors = litellm.embedding(input=["four"], model="openai/minilm", api_base=f"{URL}/v1", api_key=KEY)
messages = litellm.completion(model="anthropic/coder", api_base=URL, api_key=KEY, messages=hello, max_tokens=9)
responded = litellm.responses(input="Hello?", **ours)
try:
    litellm.completion(messages=hello, **{**ours, "model": "openai/none"})
    refused = ""
except litellm.NotFoundError as error:
    refused = str(error)

print(
    json.dumps(
        {
            "whole": whole.choices[0].message.content,
            "streamed": "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices),
            "tokens": [piece.usage.total_tokens for piece in pieces if getattr(piece, "usage", None)][-1],
            "called": called.choices[0].message.tool_calls[0].function.name,
            "vector": vectors.data[0]["embedding"],
            "messages": messages.choices[0].message.content,
            "responded": responded.output[0].content[0].text,
            "refused": "there is no model" in refused,
        }
    )
)
