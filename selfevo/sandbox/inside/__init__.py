"""What runs inside the sandbox: plain files that use the standard library alone, mounted read-only and started by a bare Python."""
