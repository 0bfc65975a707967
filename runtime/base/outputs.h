/* The files that a run writes into its output folder under names of its own, beside what the plan's model exports. */
#ifndef MDL_BASE_OUTPUTS_H
#define MDL_BASE_OUTPUTS_H

/* These tell that a run has been there. */
#define MDL_RESULT_FILES                                                                                            \
    "metrics.jsonl", "model.safetensors", "model.safetensors.index.json", "train_results.json", "all_results.json", \
        "eval_results.json"
/* No model may export any of these. */
#define MDL_RUN_FILES MDL_RESULT_FILES, "metrics.jsonl.old", "vocab.txt"

#endif
