// Where rows lie on planes, and `real`, the precision of the module's rows.
#pragma once
#include "common.cuh"

#ifndef REAL
#define REAL double
#endif
typedef REAL real;

// Where the entries (channel, y, x) of a row lie on its plane.
struct Patch {
    int high, wide, plane_high, plane_wide;
    i64 top, left;

    // Flat index into (channels, plane_high, plane_wide); -1 off the plane.
    __device__ i64 at(i64 entry) const {
        // 32-bit divisions are several times faster; rows of 2³¹ entries are refused
        const unsigned e = (unsigned)entry, line = e / (unsigned)wide;
        const i64 row = top + line % (unsigned)high, column = left + e % (unsigned)wide;
        if (row < 0 || row >= plane_high || column < 0 || column >= plane_wide) return -1;
        return ((i64)(line / (unsigned)high) * plane_high + row) * plane_wide + column;
    }
};

__device__ inline Patch patch_of(
    const i64* origin, i64 row, i64 high, i64 wide, i64 plane_high, i64 plane_wide) {
    return Patch{(int)high, (int)wide, (int)plane_high, (int)plane_wide,
                 origin[2 * row], origin[2 * row + 1]};
}
