"""A library with NVML's functions in place of the driver's."""

import ctypes
import shutil
import subprocess
import sys

import pytest

from workers.devices import nvml

ENERGY = "nvmlDeviceGetTotalEnergyConsumption"
SHARE = "nvmlDeviceGetProcessUtilization"
NVML = """
#include <string.h>
static unsigned long long used[2] = {5000000000000ull, 1000ull};
static int started;
int nvmlInitWithFlags(unsigned int flags) { started = 1; return INIT; }
int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
    if (!started) return 1;
    if (!strcmp(uuid, "GPU-9f1c2b3a-0000-1111-2222-333344445555")) *device = &used[0];
    else if (!strcmp(uuid, "GPU-00000000-0000-1111-2222-333344445555")) *device = &used[1];
    else return 6;
    return 0;
}
typedef struct { unsigned int pid; unsigned long long time; unsigned int sm, mem, enc, dec; } sample;
static sample samples[8];
static unsigned int kept;
void put(unsigned int pid, unsigned long long time, unsigned int sm) { samples[kept++] = (sample){pid, time, sm}; }
void forget(void) { kept = 0; }
int SHARE(void *device, sample *into, unsigned int *room, unsigned long long after) {
    unsigned int found = 0;
    if (SAMPLING) return SAMPLING;
    if (device != &used[0]) return 2;
    for (unsigned int i = 0; i < kept; i++) found += samples[i].time > after;
    if (!found) return 6;
    if (!into || *room < found) { *room = 8; return 7; }
    for (unsigned int i = *room = 0; i < kept; i++) if (samples[i].time > after) into[(*room)++] = samples[i];
    return 0;
}
int ENERGY(void *device, unsigned long long *energy) {
    if (device != &used[0] && device != &used[1]) return 2;
    *energy = *(unsigned long long *)device += 250;
    return READING;
}
"""


@pytest.fixture
def nvml_library(tmp_path):
    """Compile libraries with NVML's functions, each board of which uses 250 mJ from one reading to the next.

    Processes have used the first board as they were `put` down since it was told to `forget`.
    """
    if not (compiler := shutil.which("cc")):
        pytest.skip("needs a C compiler (cc) to make a library with NVML's functions")

    def make(*, init=0, reading=0, sampling=0, energy=ENERGY, share=SHARE):
        source, library = tmp_path / "nvml.c", tmp_path / "libnvidia-ml.so.1"
        source.write_text(NVML)
        flags = [f"-DINIT={init}", f"-DREADING={reading}", f"-DSAMPLING={sampling}"]
        flags += [f"-DENERGY={energy}", f"-DSHARE={share}"]
        subprocess.run([compiler, "-shared", "-fPIC", *flags, "-o", library, source], check=True)
        return library

    return make


@pytest.fixture
def driver(monkeypatch, nvml_library):
    """Have this process's driver be such a library; returns it."""
    pynvml = pytest.importorskip("pynvml")

    def install(**defects):
        library = ctypes.CDLL(str(nvml_library(**defects)))
        monkeypatch.setattr(pynvml, "nvmlLib", library)
        monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
        nvml._load.cache_clear()
        return library

    yield install
    nvml._load.cache_clear()


@pytest.fixture
def no_binding(monkeypatch):
    """Have this process be one without nvidia-ml-py."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    nvml._load.cache_clear()
    yield
    nvml._load.cache_clear()
