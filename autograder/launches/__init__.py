"""Count what a training step would ask of a GPU, on a machine that need not have one.

    with LaunchCounter() as counter:
        weight = counter.place(torch.randn(3, 4, requires_grad=True))
        optimizer = StudentAdam([weight])
        weight.grad = counter.place(torch.ones(3, 4))
        with counter.section("one step") as step:
            optimizer.step()
    step.launches, step.syncs, step.mixes, step.uploads, step.peak_bytes

How "pretend" counting works. A wrapper tensor stands on a device of its own and carries an ordinary CPU tensor with
the real numbers. Every operation on it arrives in `__torch_dispatch__`, is counted, and is carried out on the CPU
tensors inside. Autograd, optimizers and modules run unchanged, and a host synchronisation is recorded while
execution goes on, so that one run yields the results, the counts and the lines to blame.

Why the device is called "lazy:0". Torch has to know the type of the device, and of the types that need no hardware
and no registration this is the one that behaves:
* a PrivateUse1 backend under a name of our own would become the process's accelerator for good
  (`torch.accelerator.current_accelerator()` reports it to ordinary code ever after); its `backward()` fails with an
  internal assertion once an ordinary `backward()` has run, because the autograd engine fixes its device threads at
  first use; and after its first `backward()`, `backward()` is refused in forked children;
* tensors of type "lazy" run in autograd's CPU queue (`should_run_in_cpu_ready_queue` in torch's `engine.cpp`), and a
  device guard for them is built in. Nothing is registered, so nothing is left behind when the counter closes, and
  forward-mode AD, `torch.func`, `torch.utils.checkpoint` and `torch.compile` work.

What counts as one launch: one operation dispatched by torch (below autograd) that touches the counted device.
Views, changes of shape and empty allocations are free; a `_foreach_` or fused operation is one, unless CUDA would
fall back to a loop (mixed data types, tensors on the host, different layouts), which counts one per tensor; a copy
between host and device is one. These are not CUDA kernels one for one: long `_foreach_` lists are cut into several
kernels, and attention counts as the operations it decomposes into. Ratios and orders of growth are right, absolute
numbers are not. Bytes are those of the storages that operations return; scratch space inside an operation is unseen.

What differs from a GPU: `p.device.type` is "lazy" although `p.is_cuda`; `torch.autocast` refuses the pretend device,
sparse, nested and quantised tensors cannot be on it, `torch.jit.trace` and `torch.export` cannot record
(RuntimeErrors, all of them); under `torch.compile` the code runs uncompiled; there are no streams; random numbers are
the CPU's; `torch.cuda.is_available()` and `torch.accelerator.is_available()` say what they say without a counter;
`.to("cpu", non_blocking=True)` counts as a synchronisation. A gradient of the host that a student's
`autograd.Function` returns is noticed where it is used.

Where things are. `counter` is what others use. It opens `patches` and `modes` (pretend) or `plain`; `ways` knows which
of the two works here. Operations arrive in `tensor`, which asks the `rules` about the `operations` and reports to the
counter that is `current`; its `recorder` fills in the `section`, with `events` and the bytes from `memory`.
"""

from .counter import LaunchCounter
from .events import Event
from .section import Section
from .tensor import PRETEND_DEVICE, DeviceMix

__all__ = ["PRETEND_DEVICE", "DeviceMix", "Event", "LaunchCounter", "Section"]
