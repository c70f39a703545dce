// The kernels of relax_reference.py, and the pencils of pencil_reference.py, in double.
#include "common.cuh"
#include "pencil.cuh"
#include "relax.cuh"

// The activation of each entry: parameters shared or one an entry.
struct Shapes {
    int kind;
    const double *a, *b;
    i64 a_size, b_size;
    Pieces pieces;

    __device__ Shape of(i64 i) const { return Shape{kind, a[i % a_size], b[i % b_size], pieces}; }
};

// Strided.
KERNEL(activation_range, (i64 kind, i64 samples, i64 n, const double* low, const double* high,
                          const double* a, i64 a_size, const double* b, i64 b_size,
                          const double* pieces, i64 parts, double* least, double* most)) {
    const Shapes shapes{(int)kind, a, b, a_size, b_size, Pieces{pieces, (int)parts}};
    for (i64 at = grid_first(); at < samples * n; at += grid_step()) {
        const Ends found = range_one(shapes.of(at % n), low[at], high[at]);
        least[at] = found.least;
        most[at] = found.most;
    }
}

// Strided.
KERNEL(activation_lines, (i64 kind, i64 samples, i64 n, const double* low, const double* high,
                          const double* a, i64 a_size, const double* b, i64 b_size,
                          const double* pieces, i64 parts, double* below, double* low_at,
                          double* above, double* high_at)) {
    const Shapes shapes{(int)kind, a, b, a_size, b_size, Pieces{pieces, (int)parts}};
    for (i64 at = grid_first(); at < samples * n; at += grid_step()) {
        const Lines found = lines_one(shapes.of(at % n), low[at], high[at], NOT_A_NUMBER);
        below[at] = found.below;
        low_at[at] = found.low_at;
        above[at] = found.above;
        high_at[at] = found.high_at;
    }
}

// A block a row.
KERNEL(activation_floor, (i64 kind, i64 n, const double* weight, const double* slope_of,
                          const double* lam, const double* centre, const double* low,
                          const double* high, const i64* owner, const double* a, i64 a_size,
                          const double* b, i64 b_size, const double* pieces, i64 parts,
                          double* rest, double* slope_grad, double* weight_grad,
                          double* lam_grad)) {
    const Shapes shapes{(int)kind, a, b, a_size, b_size, Pieces{pieces, (int)parts}};
    const i64 row = blockIdx.x;
    double total = 0.0, size = 0.0, moved = 0.0;
    for (i64 i = threadIdx.x; i < n; i += blockDim.x) {
        const Shape f = shapes.of(i);
        const i64 at = row * n + i, here = owner[row] * n + i;
        const double w = weight[at], g = slope_of[at], c = centre[here];
        const Floor found = floor_one(f, w, g, lam[row], c, low[here], high[here]);
        const double v = f.pieces.count > 0 ? value(f, found.z) : 0.0;
        const double z = fabs(found.z) <= BIG ? found.z : 0.0;
        total += found.bound;
        size += fabs(found.bound);
        slope_grad[at] = -z;
        weight_grad[at] = fabs(v) <= BIG ? v : 0.0;
        if (w != 0.0 || g != 0.0) moved += 0.5 * ((z - c) * (z - c));
    }
    total = block_sum(total);
    size = block_sum(size);
    moved = block_sum(moved);
    if (threadIdx.x == 0) {
        total -= (double)(n + 2) * EPS * size;
        rest[row] = is_nan(total) ? -INF : total;
        lam_grad[row] = moved;
    }
}

// Strided.
KERNEL(activation_pencil, (i64 kind, i64 samples, i64 n, const double* low, const double* high,
                           const double* point, const double* a, i64 a_size, const double* b, i64 b_size,
                           const double* pieces, i64 parts, double* table, double* start)) {
    const Shapes shapes{(int)kind, a, b, a_size, b_size, Pieces{pieces, (int)parts}};
    for (i64 at = grid_first(); at < samples * n; at += grid_step()) {
        double numbers[PLANES];
        start[at] = pencil_one(shapes.of(at % n), low[at], high[at], point[at], numbers);
        double* mine = table + at / n * PLANES * n + at % n;
        for (int k = 0; k < PLANES; ++k) mine[k * n] = numbers[k];
    }
}

// Strided.
KERNEL(deviation_lines, (i64 kind, i64 samples, i64 n, const double* low, const double* high,
                         const double* point, const double* value_at, const double* a, i64 a_size,
                         const double* b, i64 b_size, const double* pieces, i64 parts,
                         double gamma, double* below, double* low_at, double* above,
                         double* high_at, double* gap, double* far)) {
    const Shapes shapes{(int)kind, a, b, a_size, b_size, Pieces{pieces, (int)parts}};
    for (i64 at = grid_first(); at < samples * n; at += grid_step()) {
        const double p = point[at], v = value_at[at];
        const Lines found = lines_one(shapes.of(at % n), low[at], high[at], p);
        const double up = high[at] - p, down = p - low[at];
        const double apart = down > up ? down : up;
        const double move = (apart < 0.0 ? 0.0 : apart) * (1.0 + 2 * EPS) + fabs(p) * (2 * EPS);
        const double slope = found.above - found.below, shift = found.high_at - found.low_at;
        const double first = slope * low[at] + shift, last = slope * high[at] + shift;
        gap[at] = !(first > last) ? last : first;
        below[at] = found.below;
        low_at[at] = shift_one(found.below, found.low_at, p, v, move, gamma, -1.0);
        above[at] = found.above;
        high_at[at] = shift_one(found.above, found.high_at, p, v, move, gamma, 1.0);
        far[at] = move;
    }
}

// Strided.
KERNEL(shift_lines, (i64 total, const double* slope_of, const double* constant,
                     const double* point, const double* value_at, const double* deviation,
                     double gamma, double outward, double* out)) {
    for (i64 at = grid_first(); at < total; at += grid_step()) {
        out[at] = shift_one(slope_of[at], constant[at], point[at], value_at[at], deviation[at],
                            gamma, outward);
    }
}
