"""A library with NVML's names, for tests of what asks it."""

import shutil
import subprocess

import pytest

ENERGY = "nvmlDeviceGetTotalEnergyConsumption"
SHARE = "nvmlDeviceGetProcessUtilization"

NVML = """
#include <string.h>
static unsigned long long used[2] = {5000000000000ull, 1000ull};
static int started;
int nvmlInit_v2(void) { started = 1; return INIT; }
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
def make_nvml(tmp_path):
    """Compile a library with NVML's functions, each board of which uses 250 mJ from one reading to the next.

    Processes have used the first board as they were `put` down since it was told to `forget`.
    """
    if not (compiler := shutil.which("cc")):
        pytest.skip("needs a C compiler (cc) to make a library with NVML's functions")

    def make(*, init=0, reading=0, sampling=0, energy=ENERGY, share=SHARE):
        source, library = tmp_path / "nvml.c", tmp_path / "libnvml.so"
        source.write_text(NVML)
        flags = [f"-DINIT={init}", f"-DREADING={reading}", f"-DSAMPLING={sampling}"]
        flags += [f"-DENERGY={energy}", f"-DSHARE={share}"]
        subprocess.run([compiler, "-shared", "-fPIC", *flags, "-o", library, source], check=True)
        return str(library)

    return make
