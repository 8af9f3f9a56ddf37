"""Build the CUDA runtime that computes nothing, for the torch that is installed.

python benchmarks/stub_gpu/build.py FOLDER

Needs Linux on x86-64, gcc, nm, a torch with CUDA 13, and its headers. Without a folder, it goes
into the cache that the other commands use.
"""

import argparse
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import torch

SOURCES = Path(__file__).resolve().parent / "runtime"
CACHE = Path(__file__).resolve().parents[2] / "build/stub_gpu"
RUNTIME, DRIVER, MANAGEMENT = "libstub_gpu.so", "libcuda.so.1", "libnvidia-ml.so.1"
CUDA_MAJOR = "13"  # whose structures and functions the sources know
FLAGS = ("-O2", "-shared", "-fPIC", "-Wall", "-Wextra")
# The files of torch that call CUDA, and the one that calls the driver.
CALLERS = ("libtorch_cuda.so", "libtorch_cuda_linalg.so", "libc10_cuda.so", "libtorch_python.so")
DRIVER_CALLERS = ("libcaffe2_nvrtc.so",)
LAUNCH = re.compile(r"cublas\w*(gemm|gemv|dot|Matmul$)|cudnn(Batch|Convolution|Pooling)", re.I)
NOT_SUPPORTED = 801  # cudaErrorNotSupported and CUDA_ERROR_NOT_SUPPORTED


class StubUnavailableError(RuntimeError):
    """The machine cannot build the runtime; the message says what is missing."""


def missing() -> str | None:
    """Return a sentence about what building needs and this machine lacks, or None."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return f"expected Linux on x86-64, got {platform.system()} on {platform.machine()}."
    cuda = torch.version.cuda
    if cuda is None or cuda.partition(".")[0] != CUDA_MAJOR:
        return f"expected torch with CUDA {CUDA_MAJOR}, got {cuda or 'a build without CUDA'}."
    for tool in ("gcc", "nm"):
        if shutil.which(tool) is None:
            return f"expected {tool} on the PATH, got none; install gcc and binutils."
    if headers() is None:
        places = ", ".join(f"'{place}'" for place in header_places())
        return (
            f"expected the headers of CUDA {CUDA_MAJOR} (driver_types.h) in one of {places}, got "
            "none; install nvidia-cuda-runtime or set CUDA_HOME."
        )
    return None


def headers() -> Path | None:
    """Return the first folder with headers of the version that the sources know."""
    for folder in header_places():
        version = folder / "cuda_runtime_api.h"
        if (folder / "driver_types.h").is_file() and version.is_file():
            text = version.read_text(encoding="utf-8", errors="replace")
            found = re.search(r"define +CUDART_VERSION +(\d+)\d{3}\b", text)
            if found and found[1] == CUDA_MAJOR:
                return folder
    return None


def header_places() -> list[Path]:
    """Return where CUDA's headers may lie: a toolkit, or what pip installs beside torch."""
    toolkits = [os.environ.get("CUDA_HOME"), "/usr/local/cuda"]
    packages = Path(torch.__file__).resolve().parents[1]
    beside = [packages / f"nvidia/cu{CUDA_MAJOR}", packages / "nvidia/cuda_runtime"]
    return [Path(place) / "include" for place in (*filter(None, toolkits), *beside)]


def ensure() -> Path:
    """Return the folder with the runtime for this torch, built now if it was not before.

    `StubUnavailableError` where it cannot be built.
    """
    if sentence := missing():
        raise StubUnavailableError(sentence)
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for source in sorted(SOURCES.iterdir()):
        digest.update(source.read_bytes())
    folder = CACHE / f"torch-{torch.__version__}-{digest.hexdigest()[:12]}"
    if not folder.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as new:
            build(Path(new) / "built")
            if not folder.is_dir():  # another process may have been faster
                (Path(new) / "built").rename(folder)
    return folder


def build(folder: Path) -> None:
    """Write the runtime, the driver, and the management library into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    driver, management = SOURCES / "driver.c", SOURCES / "nvml.c"
    sources = sorted({*SOURCES.glob("*.c")} - {driver, management})
    _link(folder / RUNTIME, sources, CALLERS, r"(__)?(cuda[A-Z]|cublas|cudnn)")
    _link(folder / DRIVER, [driver], DRIVER_CALLERS, r"cu[A-Z]")
    _link(folder / MANAGEMENT, [management], (), "")


def _link(library: Path, sources: Iterable[Path], callers: Iterable[str], prefix: str) -> None:
    """Build a library of the sources and of a stub for everything else that torch calls."""
    command = ["gcc", *FLAGS, f"-I{headers()}", f"-Wl,-soname,{library.name}", *map(str, sources)]
    _run([*command, "-o", str(library)])
    known = _symbols(library, "--defined-only")
    torch_folder = Path(torch.__file__).parent / "lib"
    called = set().union(*(_symbols(torch_folder / name, "--undefined-only") for name in callers))
    rest = sorted(name for name in called - known if re.match(prefix, name))
    generated = library.with_suffix(".rest.c")
    generated.write_text(
        "extern _Atomic long stub_launches;\n" + "".join(map(_stub_of, rest)), encoding="utf-8"
    )
    _run([*command, str(generated), "-o", str(library)])


def _stub_of(name: str) -> str:
    """Return C of a function that counts, does nothing, or says that it cannot be done."""
    if LAUNCH.match(name):
        return f"int {name}(void) {{ stub_launches++; return 0; }}\n"
    is_library = name.startswith(("cublas", "cudnn"))
    return f"int {name}(void) {{ return {0 if is_library else NOT_SUPPORTED}; }}\n"


def _symbols(library: Path, kind: str) -> set[str]:
    """Return the names of the dynamic symbols of a library, without their versions."""
    lines = _run(["nm", "-D", kind, str(library)]).splitlines()
    return {line.split()[-1].partition("@")[0] for line in lines}


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"expected `{' '.join(command)}` to succeed, got:\n{done.stderr}")
    return done.stdout


def main() -> int:
    """Build, and print the folder; exit status 2 where it cannot be built."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("folder", nargs="?", type=Path)
    folder = parser.parse_args().folder
    if sentence := missing():
        print(sentence, file=sys.stderr)
        return 2
    if folder is None:
        folder = ensure()
    else:
        build(folder)
    print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
