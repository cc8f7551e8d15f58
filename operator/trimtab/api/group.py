"""The constants of the API group. Plain: the command line has nothing but the standard library."""

from typing import Final

GROUP: Final = "trimtab.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
MANAGER: Final = "trimtab"
"""Field manager of every write and value of the managed-by label."""

MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
DEPLOYMENT_LABEL: Final = "trimtab.dev/deployment"
REVISION_LABEL: Final = "trimtab.dev/revision"
MODEL_LABEL: Final = "trimtab.dev/model"
VERSION_LABEL: Final = "trimtab.dev/version"
RETRAIN_JOB_LABEL: Final = "trimtab.dev/retrain-job"
RETRAIN_JOB_UID_LABEL: Final = "trimtab.dev/retrain-job-uid"
"""Names are given again: tells the pods of one RetrainJob from those of an earlier one."""

COMMAND_ANNOTATION: Final = "trimtab.dev/command"
"""`verb/revision/id`, written by a person through the CLI and carried out once."""
COMMAND_BY_ANNOTATION: Final = "trimtab.dev/command-by"
