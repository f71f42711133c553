"""The arm64 cores that are emulated, and the `/proc/cpuinfo` that goes with each.

A profile must claim exactly what qemu's model executes: a feature claimed and absent is SIGILL, one
absent from the file leaves its kernels untested. `-cpu max` is no profile: its SVE gives wrong
int8 results in qemu 7.2 (Debian 12). Part numbers and features: Arm's technical reference manuals
of the Cortex-A53 (MIDR_EL1 part 0xD03) and Cortex-A76 (0xD0B),
https://developer.arm.com/documentation/100798/latest.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CPUS", "Cpu"]

CORES = 2
_ARMV8_0 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"


@dataclass(frozen=True)
class Cpu:
    """`model` is qemu's `-cpu`; `features` as Linux prints the hardware capabilities."""

    model: str
    part: int
    features: str
    note: str

    def cpuinfo(self) -> str:
        """Text of `/proc/cpuinfo` with `CORES` cores of this kind, made by Arm (0x41)."""
        core = (
            "BogoMIPS\t: 48.00\n"
            f"Features\t: {self.features}\n"
            "CPU implementer\t: 0x41\n"
            "CPU architecture: 8\n"
            "CPU variant\t: 0x0\n"
            f"CPU part\t: 0x{self.part:03x}\n"
            "CPU revision\t: 0\n\n"
        )
        return "".join(f"processor\t: {i}\n{core}" for i in range(CORES))


CPUS: dict[str, Cpu] = {
    "cortex-a53": Cpu("cortex-a53", 0xD03, _ARMV8_0, "Armv8.0: no dot product, no half floats"),
    "cortex-a76": Cpu(
        "cortex-a76",
        0xD0B,
        f"{_ARMV8_0} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp ssbs",
        "Armv8.2: dot product and half floats",
    ),
}
