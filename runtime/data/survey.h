/* What a run will do with a data set, told before it begins. */
#ifndef MDL_DATA_SURVEY_H
#define MDL_DATA_SURVEY_H

#include "runtime/data/dataset.h"
#include "runtime/data/loader.h"
#include "runtime/data/pack.h"

/* Counts what the packer will do to each record of the set; MDL_BAD_INPUT with file and line: letters that cannot be tokens, files
 * without a known one, numbers that are missing, sources that are left without a record. */
mdl_status mdl_survey(const mdl_dataset *set, const mdl_packer *packer, const char *const *column_names, mdl_data_facts *facts);

#endif
