// module_check.hpp — one module's tensors, held against the base and the config, become numbers.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/adapter.hpp"
#include "adapters/base_model.hpp"
#include "adapters/finding.hpp"
#include "adapters/module_plan.hpp"
#include "adapters/tensor_binding.hpp"
#include "adapters/tensor_values.hpp"
#include "adapters/validator.hpp"

namespace tessera {

// Everything that is wrong is appended to the report, norms are added to it.
class ModuleCheck {
 public:
  // `plan` is the config's for this module, null if the config could not be read.
  ModuleCheck(const BaseModule& module, const PlannedModule* plan, const BaseModel& base,
              const AdapterLimits& limits, Report& report);

  // The module, if it has anything and all of it is well. Its pair is left stored where each value
  // of a matrix is one of a tensor's. Of DoRA only the magnitude is read; the
  // output scale needs the base's rows, which may be replaced, too.
  std::optional<AdapterModule> run(const BoundModule& bound);

 private:
  void refuse(FindingCode code, std::string_view subject, std::string message,
              std::string expected = {}, std::string actual = {});

  bool is_expected(const BoundModule& bound);
  bool has_all_parts(const BoundModule& bound);
  bool has_part(const StoredTensor* tensor, bool wanted, FindingCode missing,
                std::string_view what);

  bool check_matrix(const StoredTensor& tensor, bool is_a);
  bool check_dtype(const StoredTensor& tensor);
  bool check_rank(const StoredTensor& tensor, bool is_a, std::int64_t features);
  bool check_vector(const StoredTensor* tensor);
  bool ranks_agree(const BoundModule& bound);
  std::string expected_shape(bool is_a, std::int64_t features) const;
  std::int64_t features(bool is_a) const;
  std::int64_t blocks_of(bool is_a) const;
  float scale() const { return plan_ != nullptr ? plan_->scale : 1.0F; }

  bool read_pair(const BoundModule& bound, AdapterModule& module);
  bool read_vectors(const BoundModule& bound, AdapterModule& module);
  bool read_bias(const BoundModule& bound, AdapterModule& module);
  std::optional<ValueStats> check_values(const StoredTensor& tensor, std::span<const float> values,
                                         float scale);
  std::optional<std::vector<float>> read_checked(const StoredTensor& tensor, float scale);

  const BaseModule& module_;
  const PlannedModule* plan_;
  const BaseModel& base_;
  const int pairs_;  // that a pair of tensors holds
  const AdapterLimits& limits_;
  Report& report_;
};

}  // namespace tessera
