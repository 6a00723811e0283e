#include "adapters/saved_rows.hpp"

#include <algorithm>
#include <numeric>
#include <optional>
#include <string>
#include <utility>

#include "adapters/base_rows.hpp"
#include "adapters/tensor_values.hpp"

namespace tessera {
namespace {

using enum FindingCode;

// One of the two tables, and what the upload has of it.
struct Table {
  const PlannedModule* planned = nullptr;
  const BoundModule* bound = nullptr;
  bool is_saved = false;                       // modules_to_save has it
  const TrainableTokens* tokens = nullptr;     // of the config
  std::optional<AdapterRows> saved = {};       // its own, of modules_to_save
  std::optional<AdapterRows> copied = {};      // those of the base's table that differ
  std::optional<AdapterRows> token_rows = {};  // of trainable_token_indices
  std::string_view name() const { return planned->base.path; }
};

class RowsReader {
 public:
  RowsReader(const PeftConfig& config, const BaseModel& base, float max_magnitude,
             Findings& findings)
      : config_(config), base_(base), max_magnitude_(max_magnitude), findings_(findings) {}

  SavedRows run(std::span<const PlannedModule> plan, std::span<const BoundModule> bound) {
    find_tables(plan, bound);
    check_names();
    assign_tokens();
    for (Table* table : {&embed_, &head_}) {
      check_conflicts(*table);
      read_weight(*table);
      read_tokens(*table);
    }
    return {.embed = rows_of(embed_, head_), .head = rows_of(head_, embed_)};
  }

 private:
  void refuse_field(FindingCode code, std::string_view field, std::string_view actual,
                    std::string message) {
    findings_.push_back({.code = code,
                         .about = Finding::About::kField,
                         .subject = std::string(field),
                         .actual = std::string(actual),
                         .message = std::move(message)});
  }

  void report(FindingCode code, std::string_view tensor, std::string message) {
    findings_.push_back({.code = code,
                         .about = Finding::About::kTensor,
                         .subject = std::string(tensor),
                         .message = std::move(message)});
  }

  bool is_tied() const { return base_.spec.tied_embeddings; }

  void find_tables(std::span<const PlannedModule> plan, std::span<const BoundModule> bound) {
    for (std::size_t i = 0; i < plan.size(); ++i) {
      if (plan[i].base.kind == ModuleKind::kLinear) continue;
      Table& table = plan[i].base.kind == ModuleKind::kEmbed ? embed_ : head_;
      table = {
          .planned = &plan[i], .bound = &bound[i], .is_saved = is_saved(config_, plan[i].base)};
    }
    const bool ties_saved =
        config_.ensure_weight_tying && is_tied() && (embed_.is_saved || head_.is_saved);
    if (ties_saved) embed_.is_saved = head_.is_saved = true;
    ties_saved_ = ties_saved;
  }

  Table* table_named(std::string_view name) {
    for (Table* table : {&embed_, &head_}) {
      if (is_or_ends_with(table->name(), name)) return table;
    }
    return nullptr;
  }

  void check_names() {
    for (const std::string& name : config_.modules_to_save) {
      if (table_named(name) != nullptr) continue;
      refuse_field(kUnsupportedModulesToSave, "modules_to_save", name,
                   "Of whole modules, only the embedding and the head are served.");
    }
  }

  // PEFT compares the lists as they are, so the same ids in another order are other ids.
  void assign_tokens() {
    for (const TrainableTokens& tokens : config_.trainable_tokens) {
      Table* table = tokens.module.empty() ? &embed_ : table_named(tokens.module);
      if (table == nullptr || table->tokens != nullptr) {
        refuse_field(kUnsupportedTrainableTokens, "trainable_token_indices", tokens.module,
                     "Only rows of the embedding and of the head are served, each table once.");
      } else {
        table->tokens = &tokens;
      }
    }
    if (!is_tied() || embed_.tokens == nullptr) return;
    const bool has_others = head_.tokens != nullptr && head_.tokens->ids != embed_.tokens->ids;
    if (has_others && config_.ensure_weight_tying) {
      refuse_field(kInvalidConfigValue, "trainable_token_indices", {},
                   "Tables that ensure_weight_tying ties have different ids.");
    }
    ties_tokens_ = !has_others;
    if (ties_tokens_) head_.tokens = nullptr;
    // Neither does PEFT run.
    if (ties_tokens_ && (head_.is_saved || head_.planned->has_magnitude)) {
      refuse_field(kUnsupportedTrainableTokens, "trainable_token_indices", {},
                   "The head is tied to the embedding's rows and saved as a whole, or has DoRA.");
    }
  }

  void check_conflicts(const Table& table) {
    if (table.tokens == nullptr) return;
    if (table.planned->is_targeted || table.is_saved) {
      refuse_field(kUnsupportedTrainableTokens, "trainable_token_indices", table.name(),
                   "A table of which rows are trained is targeted or saved as a whole, too.");
    }
  }

  // Dtype and shape of a tensor of `rows` rows.
  bool check_form(const StoredTensor& tensor, std::int64_t rows) {
    if (!is_adapter_dtype(tensor.dtype)) {
      report(kUnsupportedTensorDtype, tensor.name, "Adapters are stored in 16 or 32 bit floats.");
      findings_.back().expected = "F32, F16 or BF16";
      findings_.back().actual = dtype_name(tensor.dtype);
      return false;
    }
    const std::vector<std::int64_t> expected = {rows, base_.spec.hidden};
    if (tensor.shape == expected) return true;
    report(kTensorShapeMismatch, tensor.name, "The shape does not fit the base's table.");
    findings_.back().expected = shape_text(expected);
    findings_.back().actual = shape_text(tensor.shape);
    return false;
  }

  bool check_values(const StoredTensor& tensor, std::span<const float> values) {
    const ValueStats stats = stats_of(values);
    if (!stats.all_finite) {
      report(kNonFiniteValue, tensor.name, "The tensor holds a NaN or an infinity.");
      return false;
    }
    if (stats.max_magnitude <= max_magnitude_) return true;
    report(kValueTooLarge, tensor.name, "The tensor holds a value of absurd size.");
    return false;
  }

  static void read_row(const StoredTensor& tensor, std::size_t row, std::span<float> values) {
    const std::size_t width =
        values.size() * static_cast<std::size_t>(dtype_bits(tensor.dtype)) / 8;
    read_values_into(tensor.dtype, tensor.bytes.subspan(row * width, width), values);
  }

  // The rows of a whole table that are not the base's.
  AdapterRows different_rows(const StoredTensor& tensor, const BaseModule& module) const {
    const BaseRows base(*base_.weights, module);
    const auto hidden = static_cast<std::size_t>(base_.spec.hidden);
    std::vector<float> ours(hidden);
    std::vector<float> theirs(hidden);
    AdapterRows rows;
    for (int row = 0; row < base_.spec.vocab_size; ++row) {
      read_row(tensor, static_cast<std::size_t>(row), theirs);
      base.read(row, ours);
      if (ours != theirs) rows.ids.push_back(row);
    }
    rows.rows.resize(rows.ids.size() * hidden);
    for (std::size_t i = 0; i < rows.ids.size(); ++i) {
      read_row(tensor, static_cast<std::size_t>(rows.ids[i]),
               std::span(rows.rows).subspan(i * hidden, hidden));
    }
    return rows;
  }

  void read_weight(Table& table) {
    const StoredTensor* tensor = table.bound->weight;
    const bool is_tied_copy = ties_saved_ && &table == &head_;
    if (tensor == nullptr) {
      if (table.is_saved && !is_tied_copy) {
        report(kMissingRows, table.name(), "The config saves this module; it has no weights.");
      }
      return;
    }
    if (!table.is_saved) return read_copy(table, *tensor);
    if (base_.weights == nullptr) {
      return report(kBaseWeightsNeeded, tensor->name,
                    "The base's weights are not at hand, and this table is held against them.");
    }
    if (!check_form(*tensor, base_.spec.vocab_size)) return;
    AdapterRows rows = different_rows(*tensor, table.planned->base);
    if (check_values(*tensor, rows.rows)) table.saved = std::move(rows);
  }

  // What PEFT saves unasked. Of a table that is kept in 8 bits here a copy cannot be told.
  void read_copy(Table& table, const StoredTensor& tensor) {
    const bool can_tell = base_.weights != nullptr && matrix_of(table).form == WeightForm::kBf16 &&
                          table.tokens == nullptr;
    if (!can_tell) {
      return report(kEmbeddingWeightsPresent, tensor.name,
                    "The upload replaces the base's embedding or head; save it with "
                    "save_embedding_layers=False if they were not trained.");
    }
    if (!check_form(tensor, base_.spec.vocab_size)) return;
    AdapterRows rows = different_rows(tensor, table.planned->base);
    if (!check_values(tensor, rows.rows)) return;
    if (rows.ids.empty()) {
      report(kIgnoredTensor, tensor.name, "A copy of the base's own weights was left out.");
    } else {
      report(kEmbeddingWeightsPresent, tensor.name,
             "The upload replaces " + std::to_string(rows.ids.size()) +
                 " rows of the base's table; save it with save_embedding_layers=False if they "
                 "were not trained.");
    }
    findings_.back().severity = Severity::kWarning;
    table.copied = std::move(rows);
  }

  const WeightMatrix& matrix_of(const Table& table) const {
    return &table == &embed_ ? base_.weights->embedding : base_.weights->head;
  }

  void read_tokens(Table& table) {
    const StoredTensor* tensor = table.bound->tokens;
    if (table.tokens == nullptr) {
      if (tensor != nullptr) {
        report(kUndeclaredTensor, tensor->name, "The config trains no rows of this table.");
      }
      return;
    }
    const std::vector<TokenId>& ids = table.tokens->ids;
    if (std::ranges::max(ids) >= base_.spec.vocab_size) {
      return refuse_field(kInvalidConfigValue, "trainable_token_indices",
                          std::to_string(std::ranges::max(ids)), "The base has no such token.");
    }
    if (tensor == nullptr) {
      return report(kMissingRows, table.name(),
                    "The config trains rows of this table; it has none.");
    }
    if (!check_form(*tensor, static_cast<std::int64_t>(ids.size()))) return;
    AdapterRows rows = sorted_rows(*tensor, ids);
    if (check_values(*tensor, rows.rows)) table.token_rows = std::move(rows);
  }

  AdapterRows sorted_rows(const StoredTensor& tensor, const std::vector<TokenId>& ids) const {
    const auto hidden = static_cast<std::size_t>(base_.spec.hidden);
    std::vector<std::size_t> order(ids.size());
    std::iota(order.begin(), order.end(), 0);
    std::ranges::sort(order, {}, [&](std::size_t i) { return ids[i]; });
    AdapterRows rows{.ids = {}, .rows = std::vector<float>(ids.size() * hidden)};
    for (std::size_t i = 0; i < order.size(); ++i) {
      rows.ids.push_back(ids[order[i]]);
      read_row(tensor, order[i], std::span(rows.rows).subspan(i * hidden, hidden));
    }
    return rows;
  }

  // What a table serves, given the other one.
  AdapterRows rows_of(const Table& table, const Table& other) {
    if (table.saved) {
      if (ties_saved_ && &table == &head_) check_equal(*table.saved, other.saved, table);
      return *table.saved;
    }
    if (ties_saved_ && &table == &head_ && other.saved) return *other.saved;
    if (table.token_rows) return *table.token_rows;
    if (ties_tokens_ && &table == &head_ && other.token_rows) return *other.token_rows;
    if (table.copied) {
      if (is_tied() && &table == &head_) check_equal(*table.copied, other.copied, table);
      return *table.copied;
    }
    if (is_tied() && other.copied) return *other.copied;
    return {};
  }

  void check_equal(const AdapterRows& rows, const std::optional<AdapterRows>& others,
                   const Table& table) {
    if (!others || (others->ids == rows.ids && others->rows == rows.rows)) return;
    report(kUnsupportedWeightTying, table.name(),
           "The base's embedding and head are one table, and the upload has two different ones.");
  }

  const PeftConfig& config_;
  const BaseModel& base_;
  const float max_magnitude_;
  Findings& findings_;
  Table embed_;
  Table head_;
  bool ties_saved_ = false;   // the head's saved table is the embedding's
  bool ties_tokens_ = false;  // the head's trained rows are the embedding's
};

}  // namespace

SavedRows read_saved_rows(const PeftConfig& config, const BaseModel& base,
                          std::span<const PlannedModule> plan, std::span<const BoundModule> bound,
                          float max_magnitude, Findings& findings) {
  return RowsReader(config, base, max_magnitude, findings).run(plan, bound);
}

}  // namespace tessera
