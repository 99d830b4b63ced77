"""See from outside that a process keeps what it has freed."""

import os
import platform
import subprocess
import sys

import pytest

# resident memory in MB, before and after a block of 256 MB was there
PROGRAM = """
import ctypes, os, sys
from dinoir_plugin.core import freed_memory
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
def resident():
    return int(open('/proc/self/statm').read().split()[1]) * os.sysconf('SC_PAGE_SIZE') // 10**6
kept = freed_memory.keep() if sys.argv[1] == 'keep' else False
before = resident()
block = libc.malloc(256 << 20)
ctypes.memset(block, 1, 256 << 20)
libc.free(block)
print(int(kept), resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='other C libraries are left as they are')
@pytest.mark.parametrize('keeps', [True, False])
def test_freed_memory_stays_with_the_process_once_asked_for(keeps):
    words = [sys.executable, '-c', PROGRAM, 'keep' if keeps else 'as usual']
    env = {name: value for name, value in os.environ.items() if not name.startswith(('MALLOC_', 'LD_PRELOAD'))}
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=True)
    kept, grown = map(int, done.stdout.split())
    assert kept == keeps
    assert grown > 200 if keeps else grown < 50
