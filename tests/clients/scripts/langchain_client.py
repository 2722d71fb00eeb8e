"""LangChain's ChatOpenAI and OpenAIEmbeddings: chat, a stream, tools, a schema, and vectors."""

import json
import os

from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

URL, KEY = os.environ["GATEWAY_URL"], os.environ["GATEWAY_KEY"]


class Sum(BaseModel):
    """A sum."""

    total: int


def look(at: str) -> str:
    """Look at something."""
    return at


chat = ChatOpenAI(model="coder", base_url=f"{URL}/v1", api_key=KEY)
responder = ChatOpenAI(model="coder", base_url=f"{URL}/v1", api_key=KEY, use_responses_api=True)
called = chat.bind_tools([look], tool_choice="look").invoke("Hello?")
schema = chat.with_structured_output(Sum, method="json_schema").invoke("Add 1 and 2")
vectors = OpenAIEmbeddings(model="minilm", base_url=f"{URL}/v1", api_key=KEY, check_embedding_ctx_length=False)

print(
    json.dumps(
        {
            "whole": chat.invoke("Hello?").content,
            "streamed": "".join(piece.content for piece in chat.stream("Hello?")),
            "tokens": chat.invoke("Hello?").usage_metadata["total_tokens"],
            "called": called.tool_calls[0]["args"],
            "schema": schema.total,
            "responded": responder.invoke("Hello?").text,
            "responded_streamed": "".join(piece.text for piece in responder.stream("Hello?")),
            "vector": vectors.embed_query("four"),
        }
    )
)
