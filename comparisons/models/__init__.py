"""Facts about people, campaigns, conversations and choices, one noun per file."""

from comparisons.models.account import Account, ApiToken, AuditEntry, SignInLink
from comparisons.models.arrival import Arrival, ArrivalSource, PlatformEvent
from comparisons.models.assignment import Assignment
from comparisons.models.campaign import Campaign, InstructionVersion
from comparisons.models.comparison import ChoiceUndo, Comparison, Flag
from comparisons.models.conversation import Conversation, Response, Showing, Turn
from comparisons.models.crowdworker import ConsentRecord, Crowdworker, Invitation
from comparisons.models.limit import RateWindow
from comparisons.models.payslip import Payslip, Piece
from comparisons.models.qualification import (
    Qualification,
    QualificationAnswer,
    QualificationAttempt,
    QualificationItem,
    QualificationResult,
)
from comparisons.models.release import DatasetRelease, ReleaseComparison, ReleaseExport
from comparisons.models.reply import LapsedReply, PassedReply, WantedReply

__all__ = [
    "Account",
    "ApiToken",
    "Arrival",
    "ArrivalSource",
    "Assignment",
    "AuditEntry",
    "Campaign",
    "ChoiceUndo",
    "Comparison",
    "ConsentRecord",
    "Conversation",
    "Crowdworker",
    "DatasetRelease",
    "Flag",
    "InstructionVersion",
    "Invitation",
    "LapsedReply",
    "PassedReply",
    "Payslip",
    "Piece",
    "PlatformEvent",
    "Qualification",
    "QualificationAnswer",
    "QualificationAttempt",
    "QualificationItem",
    "QualificationResult",
    "RateWindow",
    "ReleaseComparison",
    "ReleaseExport",
    "Response",
    "Showing",
    "SignInLink",
    "Turn",
    "WantedReply",
]
