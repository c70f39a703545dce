// The kernels of reference.py, in double: one block a sample (or pair, or row) where something is
// summed, one thread an entry where not.
#include "common.cuh"
#include "scalar.cuh"

struct Range {
    double low, high;
};

__device__ inline double reach_of(double unit, double scale, double offset) {
    return (unit * scale + offset) * (1.0 + 4 * EPS);
}

// What the kernels on activations share: the boxes and the parameters of one activation.
struct Boxes {
    int kind;
    i64 n;
    const double *z, *unit, *scale, *offset, *a, *b;
    i64 a_size, b_size;
    const double* critical;
    i64 zones;

    __device__ double reach(i64 s, i64 i) const {
        return reach_of(unit[i], scale[s], offset[s]);
    }

    // Range of the derivative of the given order over the box of neuron i of sample s.
    __device__ Range range(int order, i64 s, i64 i) const {
        const double at = z[s * n + i], by = reach(s, i);
        const double pa = a[i % a_size], pb = b[i % b_size];
        double low_end = at - by, high_end = at + by;
        low_end -= EPS * fabs(low_end);
        high_end += EPS * fabs(high_end);
        const double first = order == 1 ? slope(kind, low_end, pa, pb)
                                        : curvature(kind, low_end, pa, pb);
        const double last = order == 1 ? slope(kind, high_end, pa, pb)
                                       : curvature(kind, high_end, pa, pb);
        if (is_nan(first) || is_nan(last) || is_nan(low_end) || is_nan(high_end)) {
            return Range{-INF, INF};
        }
        double low = smaller(first, last), high = larger(first, last);
        for (i64 m = 0; m < zones; ++m) {
            const double* zone = critical + 3 * m;
            if (low_end <= zone[1] && high_end >= zone[0]) {
                low = smaller(low, zone[2]);
                high = larger(high, zone[2]);
            }
        }
        const double noise = slope_noise(kind, pa);
        return Range{low - (16 * EPS * fabs(low) + noise), high + (16 * EPS * fabs(high) + noise)};
    }

    __device__ double steepest(i64 s, i64 i) const {
        const Range found = range(1, s, i);
        return nan_max(fabs(found.low), fabs(found.high));
    }
};

// Strided.
KERNEL(activation_slopes, (i64 kind, i64 order, i64 samples, i64 n, const double* z,
                           const double* unit, const double* scale, const double* offset,
                           const double* a, i64 a_size, const double* b, i64 b_size,
                           const double* critical, i64 zones, double* low, double* high)) {
    const Boxes boxes{(int)kind, n, z, unit, scale, offset, a, b, a_size, b_size, critical, zones};
    for (i64 at = grid_first(); at < samples * n; at += grid_step()) {
        const Range found = boxes.range((int)order, at / n, at % n);
        low[at] = found.low;
        high[at] = found.high;
    }
}

// A block a sample.
KERNEL(activation_gain, (i64 kind, double p, i64 n, const double* z, const double* unit,
                         const double* scale, const double* offset, const double* a, i64 a_size,
                         const double* b, i64 b_size, const double* critical, i64 zones,
                         double* gain, double* size)) {
    const Boxes boxes{(int)kind, n, z, unit, scale, offset, a, b, a_size, b_size, critical, zones};
    const i64 s = blockIdx.x;
    double top = 0.0;
    for (i64 i = threadIdx.x; i < n; i += blockDim.x) {
        top = nan_max(top, boxes.steepest(s, i));
    }
    top = block_max(top);
    const auto move = [&](i64 i) {
        const double steep = boxes.steepest(s, i);
        return steep == 0.0 ? 0.0 : steep * boxes.reach(s, i);
    };
    const double norm = block_norm(move, n, p);
    if (threadIdx.x == 0) {
        gain[s] = inflate(top, 0);
        size[s] = inflate(norm, n);
    }
}

// A block a pair of weights and sample: blockIdx.x = k·samples + s.
KERNEL(slope_remainder, (i64 samples, i64 n, double q, const double* weight, const double* low,
                         const double* high, const double* unit, const double* scale,
                         const double* offset, const double* size, double* linear,
                         double* rest)) {
    const i64 row = blockIdx.x, s = row % samples;
    const auto middle = [&](i64 i) { return 0.5 * (low[s * n + i] + high[s * n + i]); };
    const auto factor = [&](i64 i) {
        const double w = weight[row * n + i], m = middle(i);
        if (w == 0.0) return 0.0;
        const double half =
            nan_max(high[s * n + i] - m, m - low[s * n + i]) + EPS * fabs(m);
        return fabs(w) * half + EPS * fabs(w * m);
    };
    double apart = 0.0;
    for (i64 i = threadIdx.x; i < n; i += blockDim.x) {
        const double w = weight[row * n + i], f = factor(i);
        linear[row * n + i] = w == 0.0 ? 0.0 : w * middle(i);
        apart += f == 0.0 ? 0.0 : f * reach_of(unit[i], scale[s], offset[s]);
    }
    apart = inflate(block_sum(apart), n);
    const double together = inflate(block_norm(factor, n, q) * size[s], n);
    if (threadIdx.x == 0) rest[row] = smaller(apart, together);
}

// Local response normalisation at one position of one sample.
struct Response {
    const double* x;  // channel i at x[i·positions]
    i64 channels, positions;
    int before, after, size;
    double reach, alpha, beta, bias;

    __device__ double c() const { return alpha / (double)size; }
    __device__ i64 first(i64 i) const { return i > before ? i - before : 0; }
    __device__ i64 last(i64 i) const { return i + after < channels ? i + after : channels - 1; }
    __device__ double big(i64 i) const { return fabs(x[i * positions]) + reach; }
    __device__ double divisor(i64 i) const {
        double square = 0.0;
        for (i64 j = first(i); j <= last(i); ++j) {
            const double v =
                c() >= 0 ? nan_max(fabs(x[j * positions]) - reach, 0.0) : big(j);
            square += v * v;
        }
        return (bias + c() * square) * (1.0 - (double)(size + 16) * EPS);
    }
    // Entry (i, j) of the Jacobian beside its diagonal part; decay = D_i^(−β−1).
    __device__ double entry(i64 i, double decay, i64 j) const {
        return 2.0 * fabs(c() * beta) * big(i) * decay * big(j);
    }
    __device__ double decay(i64 i) const { return pow(divisor(i), -beta - 1.0); }

    // The norm of the Jacobian; inf where a divisor can reach 0.
    __device__ double norm(double p) const {
        double top_row = 0.0, top_column = 0.0;
        for (i64 i = 0; i < channels; ++i) {
            const double d = divisor(i);
            if (!(d > 0.0)) return INF;
            const double main = pow(d, -beta), mine = pow(d, -beta - 1.0);
            double row = main, column = main;
            for (i64 j = first(i); j <= last(i); ++j) row += entry(i, mine, j);
            // the rows whose window holds i: after and before change places
            const i64 from = i > after ? i - after : 0;
            const i64 to = i + before < channels ? i + before : channels - 1;
            for (i64 k = from; k <= to; ++k) column += entry(k, k == i ? mine : decay(k), i);
            top_row = nan_max(top_row, row);
            top_column = nan_max(top_column, column);
        }
        return p == INF ? top_row : (p == 1.0 ? top_column : sqrt(top_row * top_column));
    }
};

// A block a sample.
KERNEL(lrn_gain, (const double* x, const double* reach, i64 channels, i64 positions, i64 size,
                  double alpha, double beta, double bias, double p, double* out)) {
    const i64 s = blockIdx.x;
    const int before = (int)(size - 1) / 2, after = (int)size - 1 - before;
    double worst = 0.0;
    for (i64 m = threadIdx.x; m < positions; m += blockDim.x) {
        const Response response{x + s * channels * positions + m, channels, positions, before,
                                after, (int)size, reach[s], alpha, beta, bias};
        const double here = response.norm(p);
        worst = nan_max(worst, is_nan(here) ? INF : here);
    }
    worst = block_max(worst);
    if (threadIdx.x == 0) out[s] = inflate(worst, 4 * size);
}

// A block a sample. `count` (samples, n) starts at 0: integers, so that the order of the atomic
// additions cannot matter.
KERNEL(pool_multiplicity, (const double* x, i64 n, const i64* windows, i64 how_many, i64 width,
                           const double* reach, unsigned long long* count, double* out)) {
    const i64 s = blockIdx.x;
    const double* mine = x + s * n;
    for (i64 w = threadIdx.x; w < how_many; w += blockDim.x) {
        const i64* window = windows + w * width;
        double top = -INF, size = 0.0;
        for (i64 k = 0; k < width; ++k) {
            if (window[k] < 0) continue;
            top = nan_max(top, mine[window[k]]);
            size = nan_max(size, fabs(mine[window[k]]));
        }
        const double slack = 2.0 * reach[s] + 8 * EPS * (size + reach[s]);
        for (i64 k = 0; k < width; ++k) {
            if (window[k] < 0 || mine[window[k]] < top - slack) continue;
            atomicAdd(count + s * n + window[k], 1ULL);
        }
    }
    __syncthreads();
    double most = 0.0;
    for (i64 i = threadIdx.x; i < n; i += blockDim.x) {
        most = larger(most, (double)count[s * n + i]);
    }
    most = block_max(most);
    if (threadIdx.x == 0) out[s] = most;
}

// A block a pair of rows.
KERNEL(pairwise_norms, (const double* w, i64 classes, i64 n, double p, double* out)) {
    const i64 i = blockIdx.x / classes, j = blockIdx.x % classes;
    const auto apart = [&](i64 k) { return w[i * n + k] - w[j * n + k]; };
    const double norm = block_norm(apart, n, p);
    if (threadIdx.x == 0) out[blockIdx.x] = inflate(norm, n);
}

// Strided.
KERNEL(margin_distances, (const double* logits, const double* error, const double* norms,
                          const i64* label, i64 samples, i64 classes, double* out)) {
    for (i64 at = grid_first(); at < samples * classes; at += grid_step()) {
        const i64 s = at / classes, j = at % classes, c = label[s];
        const double mine = logits[s * classes + c], other = logits[at];
        double gap = mine - other;
        gap -= 2.0 * error[s] + 4 * EPS * (fabs(mine) + fabs(other));
        const double norm = norms[c * classes + j];
        if (j == c) {
            out[at] = INF;
        } else if (!(gap > 0.0) || is_nan(norm)) {
            out[at] = 0.0;
        } else {
            out[at] = norm == 0.0 ? INF : gap / norm * (1.0 - 4 * EPS);
        }
    }
}

// Strided.
KERNEL(taylor_recursion, (const double* steep, const double* curved, const double* spectral,
                          const double* row, i64 samples, i64 layers, double* lipschitz,
                          double* smoothness)) {
    for (i64 s = grid_first(); s < samples; s += grid_step()) {
        double grow = 1.0, bend = 0.0;
        for (i64 k = 0; k < layers; ++k) {
            const double a = steep[s * layers + k], b = curved[s * layers + k];
            bend = b * row[k] * spectral[k] * grow * grow + a * spectral[k] * bend;
            grow = a * spectral[k] * grow;
        }
        lipschitz[s] = inflate(grow, 8 * layers);
        smoothness[s] = inflate(bend, 8 * layers);
    }
}
