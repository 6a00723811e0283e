// answer_vault.hpp — answers of Idempotency-Keys in the store, where only this server can read
// them.
//
// An answer may hold a secret that is shown once, and the store never does: so it is sealed with
// AES-256-GCM under a key made of the newest pepper, which lies outside the store, and bound to the
// request that it answers. One that cannot be opened, because it was changed or the pepper is gone,
// is as good as none. Writes are buffered: kill -9 loses nothing, a power cut the last moments.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/http/idempotency.hpp"
#include "storage/store.hpp"
#include "tenancy/api_key.hpp"

namespace tessera {

// Thread-safe; store and peppers outlive it.
class AnswerVault {
 public:
  AnswerVault(Store& store, const PepperFile& peppers) : store_(store), peppers_(peppers) {}

  struct Kept {
    IdempotentAnswers::Asked asked = {};
    WallTime begun = {};
    HttpResponse answer = {};  // with a body in memory
  };

  // Those that can be opened, oldest first. Errors: those of Store.
  Result<void> load(const std::function<void(Kept)>& keep) const;

  // A store that fails is told in the log: the answer is then in memory only.
  void put(const Kept& kept);
  void erase(const std::vector<ContentDigest>& places);

 private:
  std::string seal(const ContentDigest& place, std::string_view text) const;
  std::optional<std::string> open(const ContentDigest& place, std::string_view sealed) const;

  Store& store_;
  const PepperFile& peppers_;
};

}  // namespace tessera
