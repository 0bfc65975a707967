/* Suite `data_train`: data sets of every kind through mdlrun train. */
#include <stdlib.h>
#include <string.h>

#include "tests/data/fixture.h"

/* In the scratch folder: a model with a regression head, a table for it, FASTA files. */
static const char prepare[] =
    "mkdir -p train/sub && cd train && "
    "cp -r \"$S\"/models/esm2* \"$S/models/std\" . && sed \"s/^const pad = 1, mask = 32;/$(grep ^vocab esm2.mdl)/\" "
    "\"$S/models/twohead.mdl\" >two.mdl && "
    "mdlc two.mdl -o two.plan --tokens 128 --seqs 8 --set L=1 --set D=32 --set H=2 --set Y=2 >log 2>&1 && "
    "mdlc \"$S/models/esm2.mdl\" -o esm.plan --tokens 128 --seqs 8 --set L=1 --set D=32 --set H=2 >>log 2>&1 && "
    "printf 'sequence,x,y\\nMKVLAG,1,2\\nSERT,3,\\nIDPKQNFYMHWC,5,6\\nGVSE,,\\n' > sub/t.csv && "
    "printf '>a\\nMKVLAGSERT\\n>b\\nIDPKQNFYMHWC\\n>c\\nGVSE\\n' > sub/one.fa && printf '>a\\nWWWWMKV\\n' | gzip > 'sub/two, "
    "b.fa.gz' && "
    "printf '>a\\nJJJJ\\n;x\\n>b\\n**JJ\\n' > sub/letters.txt && "
    "printf 'data:\\n  files: [\"*.fa\", \"two, b.fa.gz\"]\\n  weights: [1, 3]\\n  validation_fraction: 0.2\\n"
    "trainer:\\n  max_steps: 3\\n  output_dir: out\\n' > sub/run.yaml";

static const char *train(mdl_test *t, const char *arguments, int expected) {
    const char *output;
    int code = mdl_shell(
        t, &output, "cd '%s/train' && mdlrun train %s trainer.max_steps=3 trainer.overwrite_output_dir=true trainer.output_dir=out",
        mdl_test_scratch(t), arguments);
    CHECK(t, code == expected, "mdlrun train %s: exit %d, expected %d\n%s", arguments, code, expected, output);
    return output;
}

void suite_data_train(mdl_test *t) {
    const char *output;
    mdl_case(t, "train: a table with numbers feeds a model's second head");
    int code = mdl_shell(t, &output, "S=$PWD; cd '%s' && %s; cat log", mdl_test_scratch(t), prepare);
    CHECK(t, !code && strstr(output, "wrote esm.plan"), "exit %d\n%s", code, output);
    output = train(t, "two.plan data.files=sub/t.csv data.columns=[x,y]", 0);
    CHECK(t, strstr(output, "4 sequences, 26 residues"), "%s", output);
    output = train(t, "two.plan data.files=sub/t.csv data.columns=[x]", 2);
    CHECK(t, strstr(output, "1 columns are given, and the model's inputs from(\"column\") take 2"), "%s", output);
    mdl_case(t, "train: patterns from the folder of the YAML file, names with commas, weights, a split");
    output = train(t, "esm.plan sub/run.yaml", 0);
    CHECK(t, strstr(output, "4 sequences, 33 residues") || strstr(output, "held out"), "%s", output);
    output = train(t, "esm.plan 'data.files=[\"sub/two, b.fa.gz\", sub/one.fa]' data.weights=[2,1]", 0);
    CHECK(t, strstr(output, "4 sequences, 33 residues"), "%s", output);
    output = train(t, "esm.plan sub/run.yaml data.weights=[1,2,3]", 2);
    CHECK(t, strstr(output, "data.weights: 3 numbers for 2 entries of data.files"), "%s", output);
    output = train(t, "esm.plan sub/run.yaml data.weights=[1,-2]", 2);
    CHECK(t, strstr(output, "data.weights: expected positive numbers, got \"-2\""), "%s", output);
    mdl_case(t, "mdlrun data --plan: the plan's batches, special tokens and vocabulary");
    code = mdl_shell(t, &output, "cd '%s/train' && mdlrun data sub/one.fa sub/letters.txt --plan esm.plan --format fasta",
                     mdl_test_scratch(t));
    CHECK(t, !code && strstr(output, "batches of 128 tokens: 1 an epoch, 34.4% full\n"), "exit %d\n%s", code,
          output); /* 34 + 5 * 2 */
    CHECK(t, strstr(output, "outside     'J': 6, first in the record of line 1 of sub/letters.txt"), "%s", output);
    mdl_case(t, "train: a file of unknown letters only is refused");
    output = train(t, "esm.plan data.files=sub/letters.txt data.format=fasta", 3);
    CHECK(t, strstr(output, "letters.txt: line 1: none of its 8 residues is in the vocabulary"), "%s", output);
}
