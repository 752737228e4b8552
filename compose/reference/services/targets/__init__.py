"""The local targets site: three look-alikes of public sites, so that no internet is needed (P4)."""
