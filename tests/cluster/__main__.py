"""`python -m tests.cluster VERB`, from the top of the repository."""

from .tool import main

raise SystemExit(main())
