// admission_entry.hpp — what one tenant has in use: its own meter, its keys' and its models'.
//
// One lock for all of them, so that a request passes every level or none; the organization's, above
// them, is asked last and within it. Part of admission.cpp.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "storage/mutex.hpp"
#include "tenancy/admission.hpp"

namespace tessera {

// Thread-safe. Held by Admission's table and by each permit.
class AdmissionEntry {
 public:
  // What a request holds at one level.
  struct Place {
    Meter* meter = nullptr;  // null: no such level
    Meter::Held held = {};
  };
  struct Held {
    std::optional<Meter::Held> organization;
    Place tenant;
    Place key;
    Place model;
  };

  AdmissionEntry(const Caller& caller, const Admission::Recall& recall,
                 const Admission::RecallModel& recall_model,
                 std::shared_ptr<OrganizationMeter> organization, Now now);

  // The caller is judged by the newest limits, its own or newer ones.
  Admitted<Held> admit(const Caller& caller, Now now);
  // On refusal everything in `held` has been given back.
  Admitted<void> reserve(Held& held, const Caller& caller, const Demand& most,
                         std::string_view model, Now now);
  void settle(Held& held, const Demand& used);

  LimitsView view(const Caller& caller, Now now);
  PeriodUse use(Now now);
  std::int64_t num_running();

 private:
  // A meter with the revision of the caller whose limits it has.
  struct Revised {
    Meter meter;
    std::uint64_t revision;
  };

  static constexpr std::size_t kMaxMetersAtRest = 16'384;  // of keys

  Meter& tenant_meter(const Caller& caller, Now now) TESSERA_REQUIRES(mutex_);
  Meter& key_meter(const Caller& caller, Now now) TESSERA_REQUIRES(mutex_);
  Meter* model_meter(const Caller& caller, std::string_view model, Now now)
      TESSERA_REQUIRES(mutex_);
  void drop_keys_at_rest(Now now) TESSERA_REQUIRES(mutex_);
  LimitsView locked_view(Meter& tenant, Meter* key, Now now) TESSERA_REQUIRES(mutex_);
  RateRefusal refusal(const MeterRefusal& refused, Level level, Meter& tenant, Meter* key, Now now)
      TESSERA_REQUIRES(mutex_);

  const Admission::Recall& recall_;
  const Admission::RecallModel& recall_model_;
  const std::shared_ptr<OrganizationMeter> organization_;
  Mutex mutex_;
  Revised tenant_ TESSERA_GUARDED_BY(mutex_);
  std::map<KeyId, Revised> keys_ TESSERA_GUARDED_BY(mutex_);
  std::map<std::string, Revised, std::less<>> models_ TESSERA_GUARDED_BY(mutex_);
};

}  // namespace tessera
