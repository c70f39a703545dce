// The kernels of dual_maximum_reference.py, one block a row, in double but for what the rows'
// precision `REAL` stores: coefficients and gradients as they leave.
#include "common.cuh"
#include "maximum.cuh"

KERNEL(pull_dual_maximum, (const real* rows, const i64* owner, const i64* origin,
                           const double* lambda, const i64* taps, const double* lines,
                           const double* windows, const double* square, i64* tap, real* out,
                           double* rest, double* mass, i64 channels, i64 high, i64 wide,
                           i64 samples, i64 plane_high, i64 plane_wide, i64 entries)) {
    const i64 row = blockIdx.x, count = channels * high * wide;
    const MaximumRow mine = maximum_row(rows, owner, origin, taps, lines, windows, row, channels,
                                        high, wide, samples, plane_high, plane_wide, entries);
    const double lam = lambda[row];
    Dual dual;
    double settled = 0.0, total = 0.0;
    i64 at;
    for (i64 e = threadIdx.x; e < count; e += blockDim.x) {
        const i64 here = row * count + e;
        const double c = mine.read(e, at);
        Tap where = c > 0.0 ? LEAST : MOST;
        real found = (real)c;
        if (c < 0.0) {
            const Window w = mine.window(c, at);
            if (dual.add(w, lam, floor_of(w, lam).value)) {
                where = PEAK;
            } else {
                found = (real)(c * mine.slope(at));
            }
        } else {
            settled += c > 0.0 ? c * mine.below(at) : c;
        }
        tap[here] = mine.tap(where, at);
        out[here] = found;
        total += fabs((double)found);
    }
    settled = block_sum(settled);
    total = block_sum(total);
    const double bound = dual.total(lam, square[owner[row]]);
    if (threadIdx.x == 0) {
        rest[row] = 0.0 < lam && lam < INF ? settled + bound : -INF;
        mass[row] = total;
    }
}

KERNEL(dual_maximum_gradient, (const real* rows, const i64* owner, const i64* origin,
                               const double* lambda, const i64* taps, const double* lines,
                               const double* windows, const double* square, const real* out_grad,
                               const double* rest_grad, real* row_grad, double* lambda_grad,
                               i64 channels, i64 high, i64 wide, i64 samples, i64 plane_high,
                               i64 plane_wide, i64 entries)) {
    const i64 row = blockIdx.x, count = channels * high * wide;
    const MaximumRow mine = maximum_row(rows, owner, origin, taps, lines, windows, row, channels,
                                        high, wide, samples, plane_high, plane_wide, entries);
    const double lam = lambda[row], weight = rest_grad[row];
    double squares = 0.0;
    i64 at;
    for (i64 e = threadIdx.x; e < count; e += blockDim.x) {
        const i64 here = row * count + e;
        const double c = mine.read(e, at), back = (double)out_grad[here];
        double found = 0.0;
        if (c > 0.0) {
            found = back + mine.below(at) * weight;
        } else if (c != 0.0) {  // also what is no number
            const Window w = mine.window(c, at);
            const Floor least = floor_of(w, lam);
            if (least.value > w.plain) {
                found = back - weight * (least.mine + least.gap - least.other);
                squares += least.mine * least.mine + least.other * least.other;
            } else {
                found = mine.slope(at) * back + mine.above(at) * weight;
            }
        }
        row_grad[here] = (real)found;
    }
    squares = block_sum(squares);
    if (threadIdx.x == 0) lambda_grad[row] = 0.5 * weight * (squares - square[owner[row]]);
}
