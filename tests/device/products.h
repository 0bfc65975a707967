/* Matrix products of a backend against a scalar reference in f64. */
#ifndef MDL_TESTS_DEVICE_PRODUCTS_H
#define MDL_TESTS_DEVICE_PRODUCTS_H

#include "tests/device/conformance.h"

void mdl_conformance_products(mdl_test *t, const mdl_conformance_target *target);
/* The library behind the CPU backend's products. */
void mdl_test_onednn(mdl_test *t, const mdl_conformance_target *target);

#endif
