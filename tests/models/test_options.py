from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import pytest

from models.options import bare, check_choices, option_type


@dataclass(frozen=True)
class Plain:
    colour: Annotated[Literal["red", "blue"], "about the colour"] = "red"
    size: Annotated[int, "about the size"] = 1
    shape: str = "square"

    def __post_init__(self) -> None:
        check_choices(self)


@dataclass(frozen=True)
class OtherDefaults(Plain):
    colour: str = "blue"
    size: int = 2


@dataclass(frozen=True)
class OtherTypes(Plain):
    colour: Literal["red"] = "red"
    size: int | None = None


def option(configures, name):
    (field,) = [field for field in dataclasses.fields(configures) if field.name == name]
    return option_type(configures, field)


def test_an_option_has_its_type_with_what_is_said_of_it():
    assert option(Plain, "size") == Annotated[int, "about the size"]
    assert option(Plain, "shape") is str
    assert bare(option(Plain, "size")) is int


def test_another_default_keeps_choices_and_description():
    """A plain type says nothing else, so that a plug-in may change a default without repeating either."""
    assert option(OtherDefaults, "colour") == option(Plain, "colour")
    assert option(OtherDefaults, "size") == option(Plain, "size")


def test_another_type_counts():
    """Fewer choices, or a wider type, are those of the subclass."""
    assert get_args(option(OtherTypes, "colour")) == ("red",)
    assert option(OtherTypes, "size") == int | None


@pytest.mark.parametrize("configures", [Plain, OtherDefaults])
def test_a_value_that_is_no_choice_is_refused(configures):
    assert configures(colour="blue").colour == "blue"
    with pytest.raises(ValueError, match="colour is 'green'; choose one of red, blue"):
        configures(colour="green")


def test_fewer_choices_are_all_that_is_accepted():
    with pytest.raises(ValueError, match="colour is 'blue'; choose one of red"):
        OtherTypes(colour="blue")
