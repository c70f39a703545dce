// CUDA on a CPU, as far as these sources need it: for tests where there is no GPU.
//
// Included before a kernel source. `KERNEL` defines, besides the kernel, `launch_<kernel>(grid,
// lanes, args)` with `args` as cudaLaunchKernel takes them: the address of every argument. The
// blocks run one after another. With lanes = 1 a block is a plain call; with more, as many
// threads run every block together and meet at __syncthreads, so that races and missing
// barriers can show.
#pragma once

#include <cmath>
#include <condition_variable>
#include <cstddef>
#include <cstring>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

using std::asin;
using std::erf;
using std::erfc;
using std::exp;
using std::expm1;
using std::fabs;
using std::floor;
using std::fmod;
using std::log;
using std::log1p;
using std::pow;
using std::sqrt;
using std::tanh;

#define __global__
#define __device__
#define __shared__ static
#define OUTLINED inline

namespace shim {

struct Index {
    unsigned x;
};

class Barrier {
  public:
    void reset(int count) { expected = count; }
    void wait() {
        std::unique_lock<std::mutex> lock(mutex);
        const unsigned long mine = round;
        if (++arrived == expected) {
            arrived = 0;
            ++round;
            all.notify_all();
        } else {
            all.wait(lock, [&] { return round != mine; });
        }
    }

  private:
    std::mutex mutex;
    std::condition_variable all;
    int expected = 1, arrived = 0;
    unsigned long round = 0;
};

}  // namespace shim

static thread_local shim::Index threadIdx, blockIdx;
static shim::Index blockDim, gridDim;
static shim::Barrier block_barrier;
static std::mutex one_launch;  // there is one set of indices and shared cells

inline void __syncthreads() {
    if (blockDim.x > 1) block_barrier.wait();
}

inline double __longlong_as_double(long long bits) {
    double x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}

inline unsigned long long atomicAdd(unsigned long long* at, unsigned long long by) {
    return __atomic_fetch_add(at, by, __ATOMIC_RELAXED);
}

namespace shim {

template <class... A, std::size_t... I>
void call(void (*kernel)(A...), void** args, std::index_sequence<I...>) {
    kernel(*static_cast<A*>(args[I])...);
}

template <class... A>
void launch(void (*kernel)(A...), long long grid, long long lanes, void** args) {
    std::lock_guard<std::mutex> lock(one_launch);
    gridDim.x = (unsigned)grid;
    blockDim.x = (unsigned)lanes;
    block_barrier.reset((int)lanes);
    const auto run = [=](unsigned lane) {
        threadIdx.x = lane;
        for (unsigned block = 0; block < (unsigned)grid; ++block) {
            blockIdx.x = block;
            call(kernel, args, std::index_sequence_for<A...>());
            __syncthreads();  // no thread enters the next block while one is in this
        }
    };
    if (lanes == 1) return run(0);
    std::vector<std::thread> threads;
    for (unsigned lane = 0; lane < (unsigned)lanes; ++lane) threads.emplace_back(run, lane);
    for (auto& thread : threads) thread.join();
}

}  // namespace shim

#define KERNEL(name, params)                                                            \
    static void name params;                                                            \
    extern "C" __attribute__((visibility("default"))) void launch_##name(               \
        long long grid, long long lanes, void** args) {                                 \
        shim::launch(&name, grid, lanes, args);                                         \
    }                                                                                   \
    static void name params
