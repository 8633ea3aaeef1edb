"""Sentences that the page's script says, translated on the server.

Knows words by name; the script knows when to say them.
"""

from django.utils.translation import gettext as _


def script_words() -> dict[str, str]:
    """Name → sentence, for the data island of the conversation page."""
    return {**_keeping_words(), **_turn_words()}


def _keeping_words() -> dict[str, str]:
    """What is kept, sent or out of reach."""
    return {
        "saved": _("Saved"),
        "saving": _("Saving…"),
        "notSaved": _("Not saved yet. Trying again. Your work is kept on this device."),
        "notSavedShort": _("Not saved"),
        "tryNow": _("Try now"),
        "offline": _("Offline"),
        "offlineChoice": _(
            "Offline. 1 choice is kept on this device. It will be sent when you are back."
        ),
        "offlineOther": _(
            "Offline. What you sent is kept on this device. It will be sent when you are back."
        ),
        "offlineSaid": _("You are offline. Your work is kept on this device."),
        "backOnline": _("Back online. Everything is saved."),
        "otherTab": _("This conversation went on in another tab. Your unsent text is kept."),
        "showState": _("Show how it stands"),
        "signedOut": _(
            "You were signed out. Sign in in a new tab, then send again: your text stays here."
        ),
        "broken": _("Something broke on our side. What you typed is kept on this device."),
        "commentKept": _("Comment kept"),
    }


def _turn_words() -> dict[str, str]:
    """How a turn stands."""
    return {
        "sent": _("Message sent. Two responses are being written."),
        "complete": _("Both responses are complete. Pick 1 to 8, then Enter."),
        "chosen": _("Chosen: {words}. Write your next message."),
        "opinionChosen": _("Chosen: {words}."),
        "opinionNext": _("Next: {place}."),
        "stopped": _("Writing stopped. You can choose."),
        "failedA": _("Response A could not be written. Try A again, or skip this turn."),
        "failedB": _("Response B could not be written. Try B again, or skip this turn."),
        "waiting10": _(
            "Still waiting for the models. Your message is saved; "
            "you can leave this page and come back."
        ),
        "streamLost": _("Connection lost. The responses are still being written; reconnecting."),
        "modelsAway": _(
            "The models are not answering. Your message is saved. We keep trying; "
            "the responses will appear here."
        ),
        "paused": _("Paused."),
        "skipped": _("Skipped."),
        "flagged": _("Flagged. Thank you. You can go on."),
        "copied": _("Copied."),
        "showBoth": _("Show both responses first."),
        "pickFirst": _("Pick a point from 1 to 8 first."),
        "chooseFirst": _("Choose a response first, or skip this turn."),
        "writing": _("writing"),
        "writtenState": _("complete"),
    }
