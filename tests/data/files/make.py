# Makes the files of the suite `parquet`, and a seed for fuzzing, with pyarrow: a table as CSV and as Parquet (several row groups, nulls,
# dictionary pages that fall back to plain ones), and the same with its texts as a dictionary type.
#
#   make.py tests/data/files tests/fuzz/corpus/parquet
import csv, random, sys
import pyarrow as pa, pyarrow.parquet as pq

random.seed(1)
amino_acids = 'LAGVSERTIDPKQNFYMHWC'
rows = []
for i in range(300):
    s = ''.join(random.choice(amino_acids) for _ in range(random.randint(1, 30))) if i % 50 else amino_acids * 3
    s = {120: None, 121: '', 130: 'mkv'}.get(i, s)
    rows.append((f'p{i}', s, None if i % 7 == 3 else i, None if i % 5 == 1 else i / 8, i % 2 == 0))
columns = [pa.array(column) for column in zip(*rows)]
columns[2] = columns[2].cast(pa.int32())
table = pa.table(columns, names=['id', 'sequence', 'count', 'value', 'flag'])
folder, seeds = sys.argv[1:]
pq.write_table(table, folder + '/table.parquet', row_group_size=110, compression='gzip', data_page_size=600, dictionary_pagesize_limit=700,
               write_statistics=False, data_page_version='1.0')
as_dictionary = table.set_column(1, 'sequence', table['sequence'].dictionary_encode())
pq.write_table(as_dictionary, folder + '/dictionary.parquet', row_group_size=1000, compression='zstd', data_page_version='2.0')
pq.write_table(table.slice(100, 40), seeds + '/small.parquet', row_group_size=25, compression='gzip', dictionary_pagesize_limit=400)
with open(folder + '/table.csv', 'w') as f:
    out = csv.writer(f, lineterminator='\n')
    out.writerow(table.column_names)
    for row in rows: out.writerow(['' if x is None else int(x) if isinstance(x, bool) else x for x in row])
