"""What the memory-engine takes and answers."""

from typing import Annotated

from pydantic import Field

from services.kit.models import (
    LARGEST_INTEGER,
    AnswerModel,
    Identifier,
    Labels,
    LongText,
    NaturalNumber,
    RequestModel,
    Sha256Hex,
    ShortText,
)

MOST_DIMENSIONS = 256

FiniteNumber = Annotated[float, Field(allow_inf_nan=False)]
Values = Annotated[list[FiniteNumber], Field(min_length=1, max_length=MOST_DIMENSIONS)]
Version = Annotated[int, Field(ge=1, le=LARGEST_INTEGER)]
StateValue = Annotated[
    dict[
        Identifier,
        bool
        | Annotated[int, Field(ge=-LARGEST_INTEGER, le=LARGEST_INTEGER)]
        | FiniteNumber
        | ShortText
        | None,
    ],
    Field(max_length=64),
]


class NewText(RequestModel):
    content: LongText
    metadata: Labels = Field(default_factory=dict)


class StoredText(AnswerModel):
    sha256: Sha256Hex = Field(description="Over the UTF-8 bytes of the content.")
    size_bytes: NaturalNumber
    metadata: Labels
    created_at: str


class ResultReceipt(StoredText):
    job_id: Identifier
    created: bool = Field(description="False where the first result was kept.")


class Result(StoredText):
    job_id: Identifier
    content: str


class DocumentReceipt(StoredText):
    document_id: Identifier
    version: Version
    created: bool = Field(description="False where the newest version has this content already.")


class Document(StoredText):
    document_id: Identifier
    version: Version
    content: str


class NewVector(RequestModel):
    values: Values
    metadata: Labels = Field(default_factory=dict)


class VectorReceipt(AnswerModel):
    vector_id: Identifier
    dimensions: int


class VectorQuery(RequestModel):
    values: Values
    top_k: Annotated[int, Field(ge=1, le=50)] = 10


class VectorMatch(AnswerModel):
    vector_id: Identifier
    score: Annotated[float, Field(ge=-1, le=1)] = Field(description="Cosine similarity.")
    metadata: Labels


class VectorMatches(AnswerModel):
    matches: list[VectorMatch] = Field(description="Best first; equal scores by id.")


class NewState(RequestModel):
    value: StateValue
    expected_version: NaturalNumber | None = Field(
        None, description="Write only where this is the newest version; 0 where there is none."
    )


class State(AnswerModel):
    key: Identifier
    version: Version
    value: StateValue
    created_at: str


class StateHistory(AnswerModel):
    key: Identifier
    states: list[State] = Field(description="Newest first.")
