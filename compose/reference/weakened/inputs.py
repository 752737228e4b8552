"""What a request may hold: unknown keys, bounds, NUL, and SQL that is text."""

from __future__ import annotations

from typing import Annotated, Any

import fastapi
import pydantic

from weakened.registry import control, replace

_BOUNDS = ("le", "ge", "max_length", "pattern")


@control("strict-models")
def strict_models() -> None:
    """Unknown keys are passed over, and near-miss types are taken for the right ones."""
    from services.kit import models

    replace(models.RequestModel, "model_config", pydantic.ConfigDict(extra="ignore"))


@control("input-bounds")
def input_bounds() -> None:
    """Numbers and texts may be as large as they like."""

    def unbounded(owner: Any, name: str) -> None:  # noqa: ANN401 - a module
        original: Any = getattr(owner, name)

        def without(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401
            kept = {key: value for key, value in options.items() if key not in _BOUNDS}
            return original(*arguments, **kept)

        replace(owner, name, without)

    unbounded(pydantic, "Field")
    unbounded(pydantic, "StringConstraints")
    unbounded(fastapi, "Query")


@control("text-form")
def text_form() -> None:
    """Texts may hold NUL."""
    from services.kit import models

    for name, length in (("ShortText", 200), ("MediumText", 8_000), ("LongText", 1_048_576)):
        bounded = Annotated[str, pydantic.StringConstraints(max_length=length)]
        replace(models, name, bounded)
    labels = Annotated[dict[models.Identifier, models.ShortText], pydantic.Field(max_length=32)]
    replace(models, "Labels", labels)


@control("sql-parameters")
def sql_parameters() -> None:
    """Values are written into the text of a statement, as naive programs do."""
    from sqlalchemy import Connection
    from sqlalchemy.sql.elements import TextClause

    execute: Any = Connection.execute

    def interpolated(self: Any, statement: Any, parameters: Any = None, **more: Any) -> Any:  # noqa: ANN401
        if not isinstance(statement, TextClause) or not isinstance(parameters, dict):
            return execute(self, statement, parameters, **more)
        sql = str(statement)
        for name in sorted(parameters, key=len, reverse=True):
            sql = sql.replace(f":{name}", _literal(parameters[name]))
        return self.exec_driver_sql(sql)

    replace(Connection, "execute", interpolated)


def _literal(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool | int | float):
        return str(value)
    return f"'{value}'"
