/* Colours that are told apart on white, for pictures of a run. */
#ifndef MDL_REPORT_PALETTE_H
#define MDL_REPORT_PALETTE_H

enum { MDL_PALETTE = 10 };
#define MDL_PALETTE_COLOURS \
    { 0x4269d0, 0xefb118, 0xff725c, 0x6cc5b0, 0x3ca951, 0xff8ab7, 0xa463f2, 0x97bbf5, 0x9c6b4e, 0x9498a0 }

#endif
