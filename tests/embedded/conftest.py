import os

# They need compilers and emulators, and a minute: tools/test_embedded.sh runs them.
collect_ignore_glob = [] if os.environ.get("EVENBITS_EMBEDDED") else ["test_*.py"]
