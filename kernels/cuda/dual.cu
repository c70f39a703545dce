// The kernels of dual_reference.py, one block a row, in double but for what the rows' precision
// `REAL` stores: coefficients, mixes, and slopes and gradients as they leave.
#include "ball.cuh"
#include "common.cuh"
#include "mix.cuh"

// The slope that a mix says, and what it gains by a unit of mix.
struct Slope {
    double value, gain;
};

__device__ inline Slope slope_of(const Entry& t, real mix) {
    const double gain = 0.5 * fabs(t.right - t.left);
    return Slope{nan_min(t.left, t.right) + gain * bounded(mix), gain};
}

// The least over both parts. A box that is not a number bounds nothing.
__device__ inline Lowest lowest(const Entry& t, double g, double lam) {
    if (is_nan(t.low) || is_nan(t.high) || is_nan(t.split)) return Lowest{-INF, 0.0, 0.0};
    Lowest best{INF, 0.0, 0.0};
    if (t.low <= t.split) best = left_piece(t, g, lam);
    if (t.high > t.split || best.value == INF) {
        const Lowest other = right_piece(t, g, lam);
        // not "other is less", which would lose its nan
        if (!(best.value <= other.value)) best = other;
    }
    return best;
}

KERNEL(pull_dual, (const real* rows, const i64* owner, const i64* origin, const real* mix,
                   const double* lambda, const double* table, const double* square, real* out,
                   double* rest, double* mass, i64 channels, i64 high, i64 wide, i64 samples,
                   i64 plane_high, i64 plane_wide)) {
    const i64 row = blockIdx.x, count = channels * high * wide;
    const BallRow mine = ball_row(rows, owner, origin, table, row, channels, high, wide, samples,
                                  plane_high, plane_wide);
    const double lam = lambda[row];
    Entry t;
    double settled = 0.0, bound = 0.0, size = 0.0, number = 0.0, total = 0.0;
    for (i64 e = threadIdx.x; e < count; e += blockDim.x) {
        const bool open = mine.open(e, t);
        const i64 here = row * count + e;
        // what is stored is what the floor is for: rounding must cost nothing
        const real g = (real)(t.c * (open ? slope_of(t, mix[here]).value : t.base));
        out[here] = g;
        total += fabs((double)g);
        if (open) {
            bound += lowest(t, (double)g, lam).value;
            size += magnitude(t, (double)g, lam);
            number += 1.0;
        } else {
            settled += t.c * t.base_at;
        }
    }
    settled = block_sum(settled);
    bound = block_sum(bound);
    size = block_sum(size);
    number = block_sum(number);
    total = block_sum(total);
    if (threadIdx.x == 0) {
        const double spent = 0.5 * lam * square[owner[row]];
        bound = bound - spent - (spent + size) * (number + 64.0) * EPS;
        rest[row] = 0.0 < lam && lam < INF ? settled + bound : -INF;
        mass[row] = total;
    }
}

KERNEL(dual_gradient, (const real* rows, const i64* owner, const i64* origin, const real* mix,
                       const double* lambda, const double* table, const double* square,
                       const real* out_grad, const double* rest_grad, real* row_grad,
                       real* mix_grad, double* lambda_grad, i64 channels, i64 high, i64 wide,
                       i64 samples, i64 plane_high, i64 plane_wide)) {
    const i64 row = blockIdx.x, count = channels * high * wide;
    const BallRow mine = ball_row(rows, owner, origin, table, row, channels, high, wide, samples,
                                  plane_high, plane_wide);
    const double lam = lambda[row], weight = rest_grad[row];
    Entry t;
    double squares = 0.0;
    for (i64 e = threadIdx.x; e < count; e += blockDim.x) {
        const i64 here = row * count + e;
        const bool live = mine.read(e, t);
        double to_row = 0.0, to_mix = 0.0;
        if (live && t.straight) {
            to_row = t.base * (double)out_grad[here] + t.base_at * weight;
        } else if (live) {
            const double back = (double)out_grad[here];
            const Slope slope = slope_of(t, mix[here]);
            const Lowest least = lowest(t, t.c * slope.value, lam);
            to_row = slope.value * back + (least.line - slope.value * least.at) * weight;
            to_mix = t.c * slope.gain * (back - least.at * weight);
            squares += least.at * least.at;
        }
        row_grad[here] = (real)to_row;
        mix_grad[here] = (real)to_mix;
    }
    squares = block_sum(squares);
    if (threadIdx.x == 0) lambda_grad[row] = 0.5 * weight * (squares - square[owner[row]]);
}
