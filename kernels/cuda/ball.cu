// The kernel of ball_reference.py, in double, one block a row. Entries are read anew whenever they
// are needed: a list of those that matter would need memory a row.
#include "ball.cuh"
#include "common.cuh"
#include "multiplier.cuh"

// A floor and c times the slope it is for.
struct Best {
    double value, g;
};

// The least of both pieces; a piece of which the box holds nothing does not count.
__device__ inline double floor_over(const Entry& t, double g, double lam) {
    double bound = INF;
    if (t.low <= t.split) bound = left_piece(t, g, lam).value;
    if (t.high > t.split || bound == INF) bound = nan_min(bound, right_piece(t, g, lam).value);
    return bound;
}

// The largest floor over a few slopes.
__device__ inline Best best_of(const Entry& t, double lam) {
    const double local = t.split > 0.0 ? t.left : t.right;
    Best best{floor_over(t, t.c * t.base, lam), t.c * t.base};
    for (int k = 0; k < 2; ++k) {
        const double other = t.c * (k == 0 ? local : 0.5 * (local + t.base));
        const double found = floor_over(t, other, lam);
        if (found > best.value) best = Best{found, other};
    }
    return best;
}

KERNEL(pull_ball, (const double* rows, const i64* owner, const i64* origin, const double* table,
                   const double* square, double* out, double* rest, double* mass, double* lambda,
                   i64 channels, i64 high, i64 wide, i64 samples, i64 plane_high,
                   i64 plane_wide)) {
    const i64 row = blockIdx.x, count = channels * high * wide;
    const BallRow mine = ball_row(rows, owner, origin, table, row, channels, high, wide, samples,
                                  plane_high, plane_wide);
    const i64 lane = threadIdx.x, lanes = blockDim.x;
    double* to = out + row * count;
    Entry t;
    double settled = 0.0, plain = 0.0, length = 0.0, number = 0.0;
    for (i64 e = lane; e < count; e += lanes) {
        const bool open = mine.open(e, t);
        to[e] = t.c * t.base;
        (open ? plain : settled) += t.c * t.base_at;
        if (!open) continue;
        length += t.c * t.c;
        number += 1.0;
    }
    settled = block_sum(settled);
    plain = block_sum(plain);
    length = block_sum(length);
    number = block_sum(number);

    const double budget = square[owner[row]];
    const auto value = [&](double lam) {
        double total = 0.0;
        for (i64 e = lane; e < count; e += lanes) {
            if (mine.open(e, t)) total += best_of(t, lam).value;
        }
        return block_sum(total) - 0.5 * lam * budget;
    };
    const double lam = multiplier(value, plain, length, budget);
    double chosen = 0.0;  // unless its bound beats the lines over the whole box
    if (lam > 0.0) {
        double bound = 0.0, size = 0.0;
        for (i64 e = lane; e < count; e += lanes) {
            if (!mine.open(e, t)) continue;
            const Best found = best_of(t, lam);
            bound += found.value;
            size += magnitude(t, found.g, lam);
        }
        const double spent = 0.5 * lam * budget;
        size = block_sum(size);
        bound = block_sum(bound) - spent - (spent + size) * (number + 64.0) * EPS;
        if (bound > plain) {
            plain = bound;
            chosen = lam;
            for (i64 e = lane; e < count; e += lanes) {
                if (mine.open(e, t)) to[e] = best_of(t, lam).g;
            }
        }
    }
    double total = 0.0;  // of entries that this thread wrote itself
    for (i64 e = lane; e < count; e += lanes) total += fabs(to[e]);
    total = block_sum(total);
    if (lane == 0) {
        rest[row] = settled + plain;
        mass[row] = total;
        lambda[row] = chosen;
    }
}
