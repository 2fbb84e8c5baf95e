"""What can go wrong on a channel or in a conversation, below any talk of workers and activities."""

from .error_base import LimenError

__all__ = [
    "BusError",
    "ChannelClosed",
    "ChannelNotFound",
    "ConversationFailed",
    "ConversationTimeout",
    "DeliveryFailed",
    "ParticipantCrashed",
    "PublishFailed",
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
