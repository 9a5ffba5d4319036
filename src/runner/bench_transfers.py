# For `npm run bench:transfers`: moves a folder with the runner's own code, up or down, and prints how long that took, with how
# much CPU and memory. The bucket and its keys come by the environment, as for the aws command.
import json
import os
import resource
import sys
import time

import boot
import runner


def main(way, folder, name, place):
    keys = (os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"], "", time.time() + 86_400)
    s3 = boot.S3(os.environ["ERRAND_BUCKET"], os.environ["AWS_REGION"], os.environ["AWS_ENDPOINT_URL"], lambda: keys)
    until = time.monotonic() + 900
    transfers = runner.Transfers(s3)
    prefix = place + "/"
    started = time.monotonic()
    if way == "up":
        sync = runner.Sync(transfers, runner.Ground(folder), [name], prefix)
        entries = sync.entries(sync.run(until, final=True))
        s3.put(prefix + "manifest.json", json.dumps({"format": 1, "entries": entries}).encode(), until)
    else:
        os.makedirs(folder)
        source = {"from": "bench", "manifest": prefix + "manifest.json", "prefix": prefix + "artifacts/"}
        runner.lay_input(transfers, source, runner.Tree(folder), until, lambda: None)
    seconds = time.monotonic() - started
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"seconds": seconds, "cpuSeconds": used.ru_utime + used.ru_stime, "memoryMib": used.ru_maxrss // 1024}), flush=True)
    # Without waiting for idle threads.
    os._exit(0)


main(*sys.argv[1:])
