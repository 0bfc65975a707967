// The module libmdl_parquet.so: reads Parquet with Arrow's C++ library. No exception leaves it, and no pointer of Arrow's.
#include <arrow/api.h>
#include <arrow/io/file.h>
#include <parquet/arrow/reader.h>
#include <parquet/properties.h>

#include <cmath>
#include <cstdio>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/data/parquet_abi.h"

namespace {

constexpr int64_t kRows = 4096;          // of a batch
constexpr int64_t kReadAhead = 1 << 20;  // bytes of a column that are held, not the whole of it
constexpr double kNull = std::numeric_limits<double>::quiet_NaN();

void check(const arrow::Status &status) {
    if (!status.ok()) throw std::runtime_error(status.message());
}

template <typename T>
T value(arrow::Result<T> result) {
    check(result.status());
    return std::move(result).ValueUnsafe();
}

template <typename Array>
double number_of(const arrow::Array &array, int64_t row) {
    return static_cast<double>(static_cast<const Array &>(array).Value(row));
}

double number_at(const arrow::Array &array, int64_t row) {
    switch (array.type_id()) {
        case arrow::Type::BOOL: return number_of<arrow::BooleanArray>(array, row);
        case arrow::Type::INT8: return number_of<arrow::Int8Array>(array, row);
        case arrow::Type::INT16: return number_of<arrow::Int16Array>(array, row);
        case arrow::Type::INT32: return number_of<arrow::Int32Array>(array, row);
        case arrow::Type::INT64: return number_of<arrow::Int64Array>(array, row);
        case arrow::Type::UINT8: return number_of<arrow::UInt8Array>(array, row);
        case arrow::Type::UINT16: return number_of<arrow::UInt16Array>(array, row);
        case arrow::Type::UINT32: return number_of<arrow::UInt32Array>(array, row);
        case arrow::Type::UINT64: return number_of<arrow::UInt64Array>(array, row);
        case arrow::Type::FLOAT: return number_of<arrow::FloatArray>(array, row);
        case arrow::Type::DOUBLE: return number_of<arrow::DoubleArray>(array, row);
        default: throw std::runtime_error("it holds " + array.type()->ToString() + ", expected numbers");
    }
}

// Texts may be a dictionary and indices into it.
std::string_view text_at(const arrow::Array &array, int64_t row) {
    switch (array.type_id()) {
        case arrow::Type::STRING:
        case arrow::Type::BINARY: return static_cast<const arrow::BinaryArray &>(array).GetView(row);
        case arrow::Type::LARGE_STRING:
        case arrow::Type::LARGE_BINARY: return static_cast<const arrow::LargeBinaryArray &>(array).GetView(row);
        case arrow::Type::DICTIONARY: {
            const auto &dictionary = static_cast<const arrow::DictionaryArray &>(array);
            int64_t index = dictionary.GetValueIndex(row);
            return dictionary.dictionary()->IsNull(index) ? std::string_view() : text_at(*dictionary.dictionary(), index);
        }
        default: throw std::runtime_error("it holds " + array.type()->ToString() + ", expected texts");
    }
}

// Runs `body`; what it throws becomes a message.
template <typename Result, typename Body>
Result guarded(Result failure, char *message, Body body) {
    try {
        return body();
    } catch (const std::exception &e) {
        std::snprintf(message, MDL_PARQUET_MESSAGE, "%s", e.what());
    } catch (...) {
        std::snprintf(message, MDL_PARQUET_MESSAGE, "Arrow failed");
    }
    return failure;
}

}  // namespace

struct mdl_parquet {
    std::string text_column;
    std::vector<std::string> number_columns;
    std::unique_ptr<parquet::arrow::FileReader> reader;
    std::shared_ptr<arrow::RecordBatchReader> batches;
    std::shared_ptr<arrow::RecordBatch> batch;  // what `text` points into
    std::vector<const char *> text;
    std::vector<int64_t> length;
    std::vector<double> number;

    void open(const char *path);
    void take_texts();
    void take_numbers(size_t column);
    bool next();

   private:
    int index_of(const std::string &name) const;
    std::shared_ptr<arrow::Array> column(const std::string &name) const;
};

int mdl_parquet::index_of(const std::string &name) const {
    const auto *schema = reader->parquet_reader()->metadata()->schema();
    int index = schema->ColumnIndex(name);
    if (index >= 0) return index;
    std::string all;
    for (int i = 0; i < schema->num_columns() && i < 20; i++)
        all += (i ? ", \"" : "\"") + schema->Column(i)->path()->ToDotString() + "\"";
    throw std::runtime_error("there is no column \"" + name + "\"; the columns are " + all);
}

void mdl_parquet::open(const char *path) {
    auto properties = parquet::ReaderProperties(arrow::default_memory_pool());
    auto arrow_properties = parquet::ArrowReaderProperties();
    properties.enable_buffered_stream();
    properties.set_buffer_size(kReadAhead);
    arrow_properties.set_batch_size(kRows);
    arrow_properties.set_pre_buffer(false);
    parquet::arrow::FileReaderBuilder builder;
    check(builder.Open(value(arrow::io::ReadableFile::Open(path)), properties));
    check(builder.properties(arrow_properties)->Build(&reader));
    std::vector<int> columns{index_of(text_column)}, groups;
    for (const auto &name : number_columns) columns.push_back(index_of(name));
    for (int i = 0; i < reader->num_row_groups(); i++) groups.push_back(i);
    batches = value(reader->GetRecordBatchReader(groups, columns));
}

std::shared_ptr<arrow::Array> mdl_parquet::column(const std::string &name) const {
    auto array = batch->GetColumnByName(name);
    if (!array) throw std::runtime_error("column \"" + name + "\" is not at the top, or there are two");
    return array;
}

void mdl_parquet::take_texts() {
    auto array = column(text_column);
    for (int64_t i = 0; i < batch->num_rows(); i++) {
        std::string_view view = array->IsNull(i) ? std::string_view() : text_at(*array, i);
        text[i] = view.data();
        length[i] = static_cast<int64_t>(view.size());
    }
}

void mdl_parquet::take_numbers(size_t k) {
    auto array = column(number_columns[k]);
    double *to = number.data() + k * static_cast<size_t>(batch->num_rows());
    for (int64_t i = 0; i < batch->num_rows(); i++) to[i] = array->IsNull(i) ? kNull : number_at(*array, i);
}

bool mdl_parquet::next() {
    do check(batches->ReadNext(&batch));
    while (batch && !batch->num_rows());
    if (!batch) return false;
    check(batch->ValidateFull());
    auto rows = static_cast<size_t>(batch->num_rows());
    text.resize(rows);
    length.resize(rows);
    number.resize(rows * number_columns.size());
    std::string name = text_column;
    try {
        take_texts();
        for (size_t k = 0; k < number_columns.size(); k++) {
            name = number_columns[k];
            take_numbers(k);
        }
    } catch (const std::exception &e) {
        throw std::runtime_error("column \"" + name + "\": " + e.what());
    }
    return true;
}

int mdl_parquet_abi(void) { return MDL_PARQUET_ABI; }

mdl_parquet *mdl_parquet_open(const char *path, const char *text_column, const char *const *number_columns, int n, char *message) {
    return guarded<mdl_parquet *>(nullptr, message, [&] {
        auto file = std::make_unique<mdl_parquet>();
        file->text_column = text_column;
        file->number_columns.assign(number_columns, number_columns + n);
        file->open(path);
        return file.release();
    });
}

int mdl_parquet_next(mdl_parquet *file, mdl_parquet_batch *batch, char *message) {
    return guarded<int>(-1, message, [&] {
        if (!file->next()) return 0;
        *batch = {file->batch->num_rows(), file->text.data(), file->length.data(), file->number.data()};
        return 1;
    });
}

void mdl_parquet_close(mdl_parquet *file) { delete file; }
