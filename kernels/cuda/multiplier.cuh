// The search for the multiplier of a ball, as in multiplier.py.
#pragma once
#include "common.cuh"

// The point of [low, high] next to x; nan where anything is one, so that no bound comes of it.
__device__ inline double clamped(double x, double low, double high) {
    return nan_min(nan_max(x, low), high);
}

// The best multiplier found, 0 where none beats `plain`. `value(lam)` is the bound with a
// multiplier, a sum over the block: all threads get the same, and so take the same way through
// the search, as its barriers need. `length` is the sum of the squares of the coefficients.
template <class Value>
__device__ inline double multiplier(Value value, double plain, double length, double square) {
    const double unit = sqrt(length / square);
    // below, half of a multiplier might be no normal number
    if (!(0.0 < square && square < INF && 1e-250 < unit && unit < INF)) return 0.0;
    double best = plain, chosen = 0.0, lam = unit / 64.0;
    for (int k = 0; k < 5; ++k, lam *= 4.0) {
        const double found = value(lam);
        if (found > best) {
            best = found;
            chosen = lam;
        } else if (chosen > 0.0) {
            break;
        }
    }
    if (!(chosen > 0.0)) return 0.0;
    double step = 2.0;
    for (int k = 0; k < 3; ++k, step = sqrt(step)) {
        for (int way = 0; way < 2; ++way) {
            const double factor = way == 0 ? step : 1.0 / step;
            const double found = value(chosen * factor);
            if (found > best) {
                best = found;
                chosen *= factor;
                break;
            }
        }
    }
    return chosen;
}
