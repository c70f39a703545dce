// The kernel of maximum_reference.py, one block a row, in double but for what the rows' precision
// `REAL` stores: coefficients as they leave. Windows are read anew whenever they are needed: a
// list of those that matter would need memory a row.
#include "common.cuh"
#include "maximum.cuh"
#include "multiplier.cuh"

KERNEL(pull_maximum, (const real* rows, const i64* owner, const i64* origin, const i64* taps,
                      const double* lines, const double* windows, const double* square, i64* tap,
                      real* out, double* rest, double* mass, double* lambda, i64 channels,
                      i64 high, i64 wide, i64 samples, i64 plane_high, i64 plane_wide,
                      i64 entries)) {
    const i64 row = blockIdx.x, count = channels * high * wide;
    const MaximumRow mine = maximum_row(rows, owner, origin, taps, lines, windows, row, channels,
                                        high, wide, samples, plane_high, plane_wide, entries);
    const i64 lane = threadIdx.x, lanes = blockDim.x;
    i64* to_tap = tap + row * count;
    real* to = out + row * count;
    double settled = 0.0, plain = 0.0, length = 0.0;
    for (i64 e = lane, at; e < count; e += lanes) {
        const double c = mine.read(e, at);
        to_tap[e] = mine.tap(c > 0.0 ? LEAST : MOST, at);
        if (c < 0.0) {
            to[e] = (real)(c * mine.slope(at));
            plain += mine.window(c, at).plain;
            length += c * c;
        } else {
            to[e] = (real)c;
            settled += c > 0.0 ? c * mine.below(at) : c;
        }
    }
    settled = block_sum(settled);
    plain = block_sum(plain);
    length = block_sum(length);

    const double budget = square[owner[row]];
    const auto value = [&](double lam) {
        double total = 0.0;
        for (i64 e = lane, at; e < count; e += lanes) {
            const double c = mine.read(e, at);
            if (!(c < 0.0)) continue;
            const Window w = mine.window(c, at);
            total += nan_max(w.plain, floor_of(w, lam).value);
        }
        return block_sum(total) - 0.5 * lam * budget;
    };
    const double lam = multiplier(value, plain, length, budget);
    double chosen = 0.0;  // unless its bound beats the lines
    if (lam > 0.0) {
        Dual dual;
        for (i64 e = lane, at; e < count; e += lanes) {
            const double c = mine.read(e, at);
            if (!(c < 0.0)) continue;
            const Window w = mine.window(c, at);
            dual.add(w, lam, floor_of(w, lam).value);
        }
        const double found = dual.total(lam, budget);
        if (found > plain) {
            plain = found;
            chosen = lam;
            for (i64 e = lane, at; e < count; e += lanes) {
                const double c = mine.read(e, at);
                if (!(c < 0.0)) continue;
                const Window w = mine.window(c, at);
                if (!(floor_of(w, lam).value > w.plain)) continue;
                to_tap[e] = w.peak;
                to[e] = (real)c;
            }
        }
    }
    double total = 0.0;  // of entries that this thread wrote itself
    for (i64 e = lane; e < count; e += lanes) total += fabs((double)to[e]);
    total = block_sum(total);
    if (lane == 0) {
        rest[row] = settled + plain;
        mass[row] = total;
        lambda[row] = chosen;
    }
}
