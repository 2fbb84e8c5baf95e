"""What can go wrong on a channel or in a conversation, below any talk of workers and activities."""

from .error_base import LimenError, derived

__all__ = [
    "BusError",
    "ChannelClosed",
    "ChannelNotFound",
    "ConversationFailed",
    "ConversationTimeout",
    "DeliveryFailed",
    "EvolutionRefused",
    "InvalidSchema",
    "ParticipantCrashed",
    "PayloadNotJson",
    "PayloadNotObject",
    "PayloadRefused",
    "PublishFailed",
    "SchemaError",
    "SchemaMismatch",
    "SubscriptionFailed",
]


class BusError(LimenError):
    """A channel or a conversation could not do what was asked; `str` is the message."""

    message: str

    def __str__(self) -> str:
        return self.message


class ChannelNotFound(BusError):
    """No channel has this name."""


class ChannelClosed(BusError):
    """The channel was closed, which is for good."""


class SchemaMismatch(BusError):
    """The payload is not what the channel's schema asks for; nobody received it."""


class PayloadNotJson(SchemaMismatch):
    """The payload is not JSON."""


class PayloadNotObject(SchemaMismatch):
    """The payload is not a JSON object, but the schema has defaults to fill into one."""


class PayloadRefused(SchemaMismatch):
    """The payload breaks a rule of the schema."""

    path: str
    """Where, such as `$.request.input`; names that the schema does not have are shown as `*`."""
    rule: str
    """The keyword of the rule, such as `type` or `required`."""
    expected: str = ""
    """What the schema asks for there, shortened."""
    message: str = derived()

    def _text(self) -> str:
        expected = f", which asks for {self.expected}" if self.expected else ""
        return f"at {self.path}: the payload breaks the rule {self.rule!r}{expected}"


class PublishFailed(BusError):
    """The message was not accepted; nobody received it."""


class SubscriptionFailed(BusError):
    """The subscription was not made."""


class ConversationFailed(BusError):
    """The conversation ended without an answer."""


class ConversationTimeout(BusError):
    """The conversation got no answer within its limit."""


class ParticipantCrashed(BusError):
    """The other side of the conversation died before it answered."""


class DeliveryFailed(BusError):
    """The channel could not be reached, or may not be restarted any more."""


class SchemaError(LimenError):
    """A schema is not what it should be."""

    message: str

    def __str__(self) -> str:
        return self.message


class InvalidSchema(SchemaError, ValueError):
    """The definition is not a usable JSON Schema."""


class EvolutionRefused(SchemaError, ValueError):
    """The schema cannot be evolved this way; it stays as it was."""
