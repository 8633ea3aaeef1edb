"""What waits while somebody is asked who they are, in words: "Accept what was handed in".

Knows the names of addresses and the fields of their forms; what is asked, and when, is confirming's.
"""

from django.http import HttpRequest

ACTS = {  # name of an address -> what a form or link to it does
    "manage_api": "Make an API token",
    "manage_pay_csv": "Download a campaign's pay",
    "manage_arrival_pay": "Download a source's pay",
    "manage_release_new": "Freeze a release",
    "manage_export": "Make an export",
    "manage_export_download": "Download an export",
    "put_on_trial": "Put a deployment on trial",
    "promote": "Promote a deployment",
    "roll_back": "Roll a slot back",
    "set_traffic": "Change the shares of a slot",
    "begin_iteration": "Begin an iteration",
    "start_iteration_now": "Start an iteration with the comparisons there are",
    "retry_step": "Try a step of an iteration again",
}
CHOICES = {  # name of an address -> the field that says which of its acts, and those in words
    "manage_pay_settle": (
        "to", {"accepted": "Accept what was handed in", "paid": "Mark what is accepted as paid"},
    ),
    "manage_arrival_settle": (
        "to", {"accepted": "Accept what was handed in", "paid": "Mark what is accepted as paid"},
    ),
    "manage_outcome": (
        "outcome",
        {
            "no_problem": "Note that there is no problem with a person",
            "ask": "Note that a person was asked",
            "take_back": "Let a person's choices count again",
            "set_aside": "Set a person's choices aside",
            "activate": "Let a person work again",
            "suspend": "Suspend a person",
        },
    ),
}  # fmt: skip


def waiting_act(request: HttpRequest) -> str:
    """What the request would do; empty where it is none of the acts that ask."""
    name = request.resolver_match.url_name if request.resolver_match else ""
    if name in CHOICES:
        field, words = CHOICES[name]
        return words.get(request.POST.get(field, ""), "")
    return ACTS.get(name or "", "")
