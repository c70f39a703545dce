// What every kernel shares: numbers, reductions over a block, the p-norm.
//
// The sources compile with NVRTC and nvcc, and as plain C++ behind host_shim.h. They include no
// system header, for NVRTC has none. Kernel arguments are pointers, i64 and double only. A block
// has a power of two of threads, at most MAX_LANES; every kernel is right for any such number,
// and for any number of blocks where it says "strided".
#pragma once

#ifndef KERNEL
#define KERNEL(name, params) extern "C" __global__ void name params
#endif

// For large functions that are called from many places: inlined everywhere, the relaxations would
// take NVRTC minutes.
#ifndef OUTLINED
#define OUTLINED __device__ __noinline__
#endif

typedef long long i64;

#define MAX_LANES 256
#define EPS 2.220446049250313e-16
#define INF __longlong_as_double(0x7ff0000000000000LL)
#define NOT_A_NUMBER __longlong_as_double(0x7ff8000000000000LL)

__device__ inline bool is_nan(double x) { return x != x; }
__device__ inline bool is_finite(double x) { return x - x == 0.0; }

// Python's max and min: the first operand unless the other is beyond it. fmax would lose a nan.
__device__ inline double larger(double a, double b) { return b > a ? b : a; }
__device__ inline double smaller(double a, double b) { return b < a ? b : a; }

// The maximum, or nan where either is one.
__device__ inline double nan_max(double a, double b) { return a > b || is_nan(a) ? a : b; }

// The minimum, or nan where either is one.
__device__ inline double nan_min(double a, double b) { return a < b || is_nan(a) ? a : b; }

// Round a sum of `terms` non-negative terms up; nan becomes infinite.
__device__ inline double inflate(double value, i64 terms) {
    return is_nan(value) ? INF : value * (1.0 + (double)(terms + 16) * EPS);
}

// First index and step of a strided loop over all threads of the grid.
__device__ inline i64 grid_first() { return (i64)blockIdx.x * blockDim.x + threadIdx.x; }
__device__ inline i64 grid_step() { return (i64)gridDim.x * blockDim.x; }

struct Sum {
    __device__ static double of(double a, double b) { return a + b; }
};
struct Max {
    __device__ static double of(double a, double b) { return nan_max(a, b); }
};

// One number a thread, combined over the block in a fixed order; every thread gets the result.
template <class Op>
__device__ inline double block_reduce(double mine) {
    __shared__ double cells[MAX_LANES];
    const int lane = (int)threadIdx.x;
    __syncthreads();  // threads may still read the result of the reduction before
    cells[lane] = mine;
    for (int half = (int)blockDim.x / 2; half > 0; half /= 2) {
        __syncthreads();
        if (lane < half) cells[lane] = Op::of(cells[lane], cells[lane + half]);
    }
    __syncthreads();
    return cells[0];
}

__device__ inline double block_sum(double mine) { return block_reduce<Sum>(mine); }
__device__ inline double block_max(double mine) { return block_reduce<Max>(mine); }

// p-norm (p in {1, 2, inf}) over the block of entry(0 … count−1), safe from overflow and
// underflow; nan where an entry is. All threads of the block must call it.
template <class Entry>
__device__ inline double block_norm(Entry entry, i64 count, double p) {
    const int lane = (int)threadIdx.x, lanes = (int)blockDim.x;
    double top = 0.0, total = 0.0;
    for (i64 i = lane; i < count; i += lanes) {
        const double size = fabs(entry(i));
        top = nan_max(top, size);
        total += size;
    }
    if (p == 1.0) return block_sum(total);
    top = block_max(top);
    if (p == INF || top == 0.0 || !is_finite(top)) return top;
    total = 0.0;
    for (i64 i = lane; i < count; i += lanes) {
        const double part = entry(i) / top;
        total += part * part;
    }
    return top * sqrt(block_sum(total));
}
