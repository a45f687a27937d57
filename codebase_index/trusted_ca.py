"""Certificate authorities of a site, beside the public ones: for embedding services and for git."""

import logging
import os
import ssl
import tempfile
from collections.abc import MutableMapping
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

PUBLIC: Final = Path("/etc/ssl/certs/ca-certificates.crt")
"""Debian's bundle, which the images have. Elsewhere (Fedora, macOS), OpenSSL knows where the system's is."""


def install(env: MutableMapping[str, str] = os.environ) -> None:
    """Let this process, and those that it starts, trust the PEM texts of CODEBASE_TRUSTED_CA as well.

    OpenSSL, and with it httpx, reads one file: public authorities and these are written into one, and
    SSL_CERT_FILE names it.
    """
    own = env.get("CODEBASE_TRUSTED_CA", "").strip()
    if not own:
        return
    bundles = (PUBLIC, Path(ssl.get_default_verify_paths().cafile or ""))
    public = next((file.read_text() for file in bundles if file.is_file()), "")
    if not public:
        log.warning("only the authorities of CODEBASE_TRUSTED_CA are trusted: no file of the public ones is here")
    with tempfile.NamedTemporaryFile("w", prefix="trusted-ca-", suffix=".pem", delete=False) as bundle:
        bundle.write(f"{public.rstrip()}\n{own}\n")
    env["SSL_CERT_FILE"] = bundle.name
