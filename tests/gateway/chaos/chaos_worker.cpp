// chaos_worker.cpp — requests of 64 tenants, abandoned, refused and out of time, until it is
// killed.
//
//     gateway_chaos_worker STORE SEED WALL_MICROS COUNT KEYED
//
// Real admission, engine thread, generations, ledger and charges by key over a store; a backend
// that answers at once; a clock that jumps. Before each request the oracle says what the limits
// allow. KEYED is a file of keyed requests (keyed_requests.hpp) of former workers. Lines:
//
//     K <request> <wall> <keyed request>                 before one with a key is asked
//     S <request> <prompt tokens> <completion tokens>    after a request was settled: a promise
//     E <field>=<number> ...                             at the end, if it gets there
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

#include "gateway/inference/generation.hpp"
#include "gateway/inference/key_charges.hpp"
#include "storage/ids.hpp"
#include "tests/bench/gateway/instant_backend.hpp"
#include "tests/gateway/byte_tokenizer.hpp"
#include "tests/gateway/chaos/chaos_clock.hpp"
#include "tests/gateway/chaos/chaos_setting.hpp"
#include "tests/gateway/chaos/keyed_requests.hpp"
#include "tests/gateway/chaos/limits_oracle.hpp"

namespace tessera::chaos {
namespace {

using namespace std::chrono_literals;

constexpr int kTenants = 64;
constexpr int kCrowd = 20;          // requests that come at once, now and then
constexpr int kGoneOfTen = 2;       // clients that leave before the end,
constexpr int kKeyedGoneOfTen = 5;  // and if they may come again
constexpr int kKeyedOfTen = 4;      // requests under a key,
constexpr int kAgainOfTen = 6;      // and of them those that were asked before

class Chaos {
 public:
  Chaos(Store& store, std::uint64_t seed, WallTime wall, const std::string& keyed)
      : random_(seed), next_key_(seed << 24), clock_(wall), ledger_(store), charges_(store) {
    keyed_.read(keyed);
    const auto keep = [this](const UsageRecord& record) {
      former_.push_back(record);
      return true;
    };
    ledger_.scan(WallTime{}, WallTime::max(), keep).value();
    for (int i = 0; i < kTenants; ++i) {
      const std::string name = "tenant-" + std::to_string(i);
      Caller caller{.tenant = TenantId(name), .key = KeyId("key")};
      caller.limits = limits_of(i);
      caller.organization = organization_;
      callers_.push_back(caller);
    }
    oracles_.resize(callers_.size());
    started_with_ = sum(recorded());
  }

  int run(int count) {
    while (num_asked_ < count || !running_.empty()) {
      const int crowd = draw(0, 99) == 0 ? kCrowd : 1;
      for (int i = 0; i < crowd && num_asked_ < count && running_.size() < kInFlight; ++i) ask();
      pass_time();
      poll_all();
    }
    engine_.drain(std::chrono::steady_clock::now() + 10s);
    report();
    return 0;
  }

 private:
  // One request: `keyed.key` is 0 if it has none.
  struct Asked {
    RequestId id;
    KeyedRequest keyed;
    std::shared_ptr<KeyTurn> turn = {};

    // What is to be paid of what it may come to, or came to.
    Money due(Money cost) const { return turn ? turn->due(cost) : cost; }
  };

  struct Running {
    std::size_t tenant;
    std::uint64_t key;
    std::shared_ptr<const KeyTurn> turn;
    std::unique_ptr<Generation> generation;
    LimitsOracle::Held held;
    LimitsOracle::Held held_of_all;
    int polls_left;  // until its client leaves; negative: it stays
  };

  // Of each tenant, as the ledger has it.
  std::vector<UsageTotals> recorded() const {
    std::vector<UsageTotals> totals;
    for (const Caller& caller : callers_) {
      totals.push_back(ledger_.totals_by_tenant(caller.tenant).value());
    }
    return totals;
  }

  PeriodUse recorded_use_of_all(WallTime now) const {
    PeriodUse all;
    for (const Caller& caller : callers_) {
      const PeriodUse use = ledger_.period_use(caller.tenant, KeyId(), now).value();
      all.requests_today += use.requests_today;
      all.tokens_today += use.tokens_today;
      all.tokens_this_month += use.tokens_this_month;
      all.spend_this_month += use.spend_this_month;
    }
    return all;
  }

  static UsageTotals sum(const std::vector<UsageTotals>& all) {
    UsageTotals total;
    for (const UsageTotals& each : all) total += each;
    return total;
  }

  int draw(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }

  // From the records of former processes themselves, not from the totals that admission recalls,
  // and when it recalls them: at the tenant's first request, however the clock has jumped until
  // then.
  // Of one tenant, or of all.
  PeriodUse used_before(const std::optional<TenantId>& tenant, WallTime now) const {
    PeriodUse use;
    for (const UsageRecord& record : former_) {
      if (tenant && record.tenant != *tenant) continue;
      const std::int64_t tokens = record.prompt_tokens + record.completion_tokens;
      const bool same_month =
          start_of(Period::kMonth, record.started) == start_of(Period::kMonth, now);
      if (same_month && day_of(record.started) <= day_of(now)) {
        use.tokens_this_month += tokens;
        use.spend_this_month += record.cost;
      }
      if (day_of(record.started) != day_of(now)) continue;
      ++use.requests_today;
      use.tokens_today += tokens;
    }
    return use;
  }

  LimitsOracle& oracle_of(std::size_t tenant, Now now) {
    const Caller& caller = callers_[tenant];
    if (!oracles_[tenant]) {
      oracles_[tenant].emplace(caller.limits, used_before(caller.tenant, now.wall), now);
    }
    return *oracles_[tenant];
  }

  LimitsOracle& oracle_of_all(Now now) {
    if (!oracle_of_all_) {
      oracle_of_all_.emplace(as_tenant_limits(organization_->limits),
                             used_before(std::nullopt, now.wall), now);
    }
    return *oracle_of_all_;
  }

  void pass_time() {
    clock_.advance(std::chrono::microseconds(draw(0, 4000)));
    const int chance = draw(0, 9999);
    if (chance < 10) clock_.advance(std::chrono::minutes(draw(1, 90)));
    if (chance >= 10 && chance < 20) clock_.set_wall(std::chrono::hours(draw(-48, 0)));
    if (chance >= 20 && chance < 30) clock_.set_wall(std::chrono::hours(draw(0, 60)));
  }

  // A new one, or one that has come before.
  Asked draw_request() {
    const bool has_key = draw(0, 9) < kKeyedOfTen;
    Asked asked{.id = RequestId("req_" + new_ulid(clock_.wall_now())), .keyed = {}};
    if (has_key && !keyed_.empty() && draw(0, 9) < kAgainOfTen) {
      asked.keyed = keyed_.again(random_);
      return asked;
    }
    asked.keyed = {.key = has_key ? ++next_key_ : 0,
                   .tenant = static_cast<std::size_t>(draw(0, kTenants - 1)),
                   .num_prompt = draw(1, kMaxPrompt),
                   .num_answer = draw(1, kMaxAnswer)};
    if (has_key) keyed_.add(asked.keyed);
    return asked;
  }

  // False if another request has its turn, which is known to be so.
  bool begin_turn(Asked& asked, WallTime now) {
    if (asked.keyed.key == 0) return true;
    const std::string line = "K " + asked.id.str() + ' ' +
                             std::to_string(now.time_since_epoch().count()) + ' ' +
                             asked.keyed.line() + '\n';
    tell(line);
    const ContentDigest place = asked.keyed.place();
    auto outcome = charges_.begin(place, place, asked.id, now).value();
    const bool is_under_way = std::ranges::any_of(
        running_, [&](const Running& other) { return other.key == asked.keyed.key; });
    const bool is_refused = outcome.turn == nullptr;
    if (is_refused != is_under_way) ++num_wrong_turns_;
    if (is_refused && outcome.refusal != KeyCharges::Refusal::kUnderWay) ++num_wrong_turns_;
    asked.turn = std::move(outcome.turn);
    return !is_refused;
  }

  void ask() {
    ++num_asked_;
    Asked asked = draw_request();
    const auto& [key, tenant, num_prompt, num_answer] = asked.keyed;
    const Now now = now_of(clock_);
    if (!begin_turn(asked, now.wall)) return;
    const Demand most{.tokens = num_prompt + num_answer,
                      .cost = asked.due(kPrice.at_most(num_prompt, num_answer))};
    const bool tenant_allows = oracle_of(tenant, now).allows(most, now);
    const bool all_allow = oracle_of_all(now).allows(most, now);
    const bool allowed = tenant_allows && all_allow;
    if (tenant_allows && !all_allow) ++num_refused_for_all_;
    auto permit = admission_.admit(callers_[tenant], now);
    const bool granted = permit && permit->reserve(most, "bot", now).has_value();
    if (granted && !allowed) ++num_over_;
    if (!granted && allowed) ++num_under_;
    if (!granted) {
      ++num_refused_;
      if (asked.turn) asked.turn->end();
      return;
    }
    const int gone_of_ten = key == 0 ? kGoneOfTen : kKeyedGoneOfTen;
    Running one{.tenant = tenant,
                .key = key,
                .turn = asked.turn,
                .generation = make(asked, *std::move(permit)),
                .held = oracles_[tenant]->take(most, now),
                .held_of_all = oracle_of_all_->take(most, now),
                .polls_left = draw(0, 9) < gone_of_ten ? draw(0, 3) : -1};
    one.generation->start([] {}).value();
    running_.push_back(std::move(one));
  }

  std::unique_ptr<Generation> make(const Asked& asked, Permit permit) {
    const Caller& caller = callers_[asked.keyed.tenant];
    GenerationRequest request{
        .prompt = {},
        .sampling = {.temperature = 0.0F, .max_tokens = asked.keyed.num_answer},
        .tenant = caller.tenant.str()};
    if (asked.keyed.key != 0) request.prompt = asked.keyed.prompt();
    while (std::ssize(request.prompt) < asked.keyed.num_prompt) {
      request.prompt.push_back(draw('a', 'z'));
    }
    GenerationPlan plan;
    plan.requests.push_back(std::move(request));
    plan.stream = draw(0, 1) == 1;
    plan.format = make_completion_format({"cmpl-1", 0, "bot@1", "fp"}, *tokenizer_, true, false);
    plan.record.request = asked.id;
    plan.record.tenant = caller.tenant;
    plan.record.key = caller.key;
    plan.record.model = "bot@1";
    plan.record.started = clock_.wall_now();
    plan.permit = std::move(permit);
    plan.price = kPrice;
    plan.received_at = clock_.steady_now();
    plan.key_turn = asked.turn;
    return std::make_unique<Generation>(GenerationServices{engine_, ledger_, metrics_, clock_},
                                        *tokenizer_, std::move(plan));
  }

  void poll_all() {
    bool any = false;
    for (Running& one : running_) {
      if (one.polls_left-- == 0) {
        one.generation->abandon();
        ++num_gone_;
      }
      if (!one.generation->poll().finished) continue;
      settled(one);
      one.generation.reset();
      any = true;
    }
    std::erase_if(running_, [](const Running& one) { return one.generation == nullptr; });
    if (!any) std::this_thread::yield();
  }

  void settled(const Running& one) {
    const std::int64_t prompt = one.generation->usage().prompt_tokens;
    const std::int64_t completion = one.generation->usage().completion_tokens;
    const Money cost = kPrice.of(prompt, 0, completion);
    const Demand used{.tokens = prompt + completion, .cost = one.turn ? one.turn->due(cost) : cost};
    oracles_[one.tenant]->settle(one.held, used);
    oracle_of_all_->settle(one.held_of_all, used);
    tell("S " + one.generation->request_id().str() + ' ' + std::to_string(prompt) + ' ' +
         std::to_string(completion) + '\n');
  }

  // At once, and whole: it is less than a pipe takes at a time.
  static void tell(const std::string& line) {
    const auto size = static_cast<::ssize_t>(line.size());
    if (::write(STDOUT_FILENO, line.data(), line.size()) != size) std::abort();
  }

  void report() {
    const EngineStats stats = engine_.stats();
    const UsageTotals now = sum(recorded());
    std::int64_t concurrent = 0;
    for (const Caller& caller : callers_) {
      concurrent += admission_.view(caller, now_of(clock_)).concurrent_requests;
    }
    std::printf(
        "E over=%d under=%d refused=%d refused_for_all=%d gone=%d running=%lld concurrent=%lld "
        "engine_left=%d wrong_turns=%d "
        "blocks_used=%d engine_prompt=%llu engine_generated=%llu ledger_prompt=%lld "
        "ledger_generated=%lld wall=%lld\n",
        num_over_, num_under_, num_refused_, num_refused_for_all_, num_gone_,
        static_cast<long long>(admission_.num_running()), static_cast<long long>(concurrent),
        stats.num_running + stats.num_waiting, num_wrong_turns_, stats.num_used_blocks,
        static_cast<unsigned long long>(stats.num_prompt_tokens),
        static_cast<unsigned long long>(stats.num_generated_tokens),
        static_cast<long long>(now.prompt_tokens - started_with_.prompt_tokens),
        static_cast<long long>(now.completion_tokens - started_with_.completion_tokens),
        static_cast<long long>(clock_.wall_now().time_since_epoch().count()));
  }

  std::mt19937_64 random_;
  std::uint64_t next_key_;  // that is new: no other worker has it
  KeyedRequests keyed_;
  JumpingClock clock_;
  UsageLedger ledger_;
  KeyCharges charges_;
  Metrics metrics_;
  const std::unique_ptr<Tokenizer> tokenizer_ = byte_tokenizer();
  Admission admission_{[this](const TenantId& tenant, const KeyId& key, WallTime now) {
                         return ledger_.period_use(tenant, key, now).value();
                       },
                       {},
                       [this](WallTime now) { return recorded_use_of_all(now); }};
  const std::shared_ptr<const OrganizationLimits> organization_ =
      std::make_shared<const OrganizationLimits>(organization_limits());
  HostCache cache_{[](const AdapterDigest&) -> Result<HostCache::Pin> {
                     return Error{Code::kNotFound, "there are no adapters here"};
                   },
                   {},
                   clock_};
  Engine engine_{std::make_unique<InstantBackend>(kByteVocab, 0ms), spec(), cache_,
                 engine_config()};
  std::vector<Caller> callers_;
  std::vector<UsageRecord> former_;                   // of processes before this one
  std::vector<std::optional<LimitsOracle>> oracles_;  // by tenant, from its first request on
  std::optional<LimitsOracle> oracle_of_all_;
  UsageTotals started_with_;
  std::vector<Running> running_;
  int num_asked_ = 0;
  int num_refused_ = 0;
  int num_refused_for_all_ = 0;  // for want of the organization's alone
  int num_gone_ = 0;
  int num_over_ = 0;
  int num_under_ = 0;
  int num_wrong_turns_ = 0;  // granted or refused where it had to be the other way
};

}  // namespace
}  // namespace tessera::chaos

int main(int argc, char** argv) {
  using namespace tessera;
  if (argc != 6) return 2;
  auto store = open_rocks_store(argv[1]);
  if (!store) {
    std::fprintf(stderr, "%s\n", store.error().message.c_str());
    return 3;
  }
  const WallTime wall(std::chrono::microseconds(std::atoll(argv[3])));
  chaos::Chaos chaos(**store, std::strtoull(argv[2], nullptr, 10), wall, argv[5]);
  return chaos.run(std::atoi(argv[4]));
}
