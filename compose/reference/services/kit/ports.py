"""Where each service listens; apart from the settings, because the health check starts often."""

from types import MappingProxyType

PORTS = MappingProxyType(
    {
        "gateway": 7000,
        "model-router": 7010,
        "memory-engine": 7020,
        "sessions": 7030,
        "executor": 7040,
        "control-plane": 7050,
        "targets": 7060,
    }
)
# The six that prove something; `targets` stands in for the outside world.
SYSTEM_SERVICES = tuple(name for name in PORTS if name != "targets")
