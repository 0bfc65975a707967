import pyarrow as pa, pyarrow.parquet as pq, random, csv
random.seed(1)
aa='LAGVSERTIDPKQNFYMHWC'
rows=[]
for i in range(300):
    s=''.join(random.choice(aa) for _ in range(random.randint(1,30))) if i%50 else aa*3
    if i==120: s=None
    if i==121: s=''
    if i==130: s='mkv'
    rows.append((f'p{i}', s, None if i%7==3 else i, None if i%5==1 else i/8, i%2==0))
t=pa.table({'id':pa.array([r[0] for r in rows]),'sequence':pa.array([r[1] for r in rows]),
 'count':pa.array([r[2] for r in rows],pa.int32()),'value':pa.array([r[3] for r in rows],pa.float64()),'flag':pa.array([r[4] for r in rows])})
import sys
out=sys.argv[1]
pq.write_table(t,out+'/table.parquet',row_group_size=110,compression='gzip',data_page_size=600,dictionary_pagesize_limit=700,write_statistics=False, data_page_version='1.0')
d=t.set_column(1,'sequence',t['sequence'].dictionary_encode())
pq.write_table(d,out+'/dictionary.parquet',row_group_size=1000,compression='zstd',data_page_version='2.0')
with open(out+'/table.csv','w') as f:
    w=csv.writer(f,lineterminator='\n'); w.writerow(t.column_names)
    for r in rows: w.writerow(['' if x is None else int(x) if x is True or x is False else x for x in r])
m=pq.ParquetFile(out+'/table.parquet').metadata
print(m.row_group(0).column(1))
