#include "engine/schedule/scheduler.hpp"

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/script.hpp"

namespace tessera {
namespace {

AdapterDigest digest_of(int number) {
  AdapterDigest digest;
  digest.bytes[0] = static_cast<std::uint8_t>(number);
  return digest;
}

// Plays a model for the scheduler: whoever catches up gets its next token.
class Simulation {
 public:
  explicit Simulation(const SchedulerLimits& limits)
      : scheduler_(limits),
        batch_({.max_rows = 1024,
                .max_seqs = limits.max_seqs,
                .num_blocks = limits.num_blocks,
                .block_size = limits.block_size},
               limits.num_blocks * limits.block_size) {}

  Sequence& add(const std::string& name, std::vector<TokenId> prompt, int max_tokens,
                const std::string& tenant, int adapter) {
    auto sequence = std::make_unique<Sequence>(sequences_.size(), std::move(prompt), max_tokens);
    sequence->tenant = tenant;
    if (adapter != 0) sequence->adapter = digest_of(adapter);
    scheduler_.add(*sequence);
    return *(sequences_[name] = std::move(sequence));
  }

  const StepBatch& step(int max_rows) {
    scheduler_.schedule(batch_, max_rows);
    scheduler_.check_invariants();
    input_ = batch_.build();
    scheduler_.advance(batch_);
    for (const BatchEntry& entry : batch_.entries()) {
      Sequence& sequence = *entry.sequence;
      if (!entry.catches_up) continue;
      sequence.append(static_cast<TokenId>(sequence.num_tokens()));
      if (sequence.num_tokens() == sequence.max_total_tokens) scheduler_.remove(sequence);
    }
    scheduler_.check_invariants();
    return batch_;
  }

  Scheduler& scheduler() { return scheduler_; }
  const StepInput& input() const { return input_; }
  Sequence& at(const std::string& name) { return *sequences_.at(name); }
  std::string name_of(const Sequence* sequence) const {
    for (const auto& [name, owned] : sequences_) {
      if (owned.get() == sequence) return name;
    }
    return "?";
  }
  bool all_finished() const {
    return std::ranges::all_of(sequences_, [](const auto& named) {
      return named.second->state == SequenceState::kFinished;
    });
  }

 private:
  Scheduler scheduler_;
  StepBatch batch_;
  StepInput input_;
  std::map<std::string, std::unique_ptr<Sequence>> sequences_;
};

// ---- scripts ----

// "prompt=3 tenant=x" and the like, after the words in front of them.
struct Command {
  std::vector<std::string> words;
  std::map<std::string, std::string> options;

  explicit Command(const std::string& line) {
    std::istringstream in(line);
    for (std::string part; in >> part;) {
      const auto equals = part.find('=');
      if (equals == std::string::npos) {
        words.push_back(part);
      } else {
        options[part.substr(0, equals)] = part.substr(equals + 1);
      }
    }
  }
  int number(const std::string& name, int otherwise) const {
    const auto found = options.find(name);
    return found == options.end() ? otherwise : std::stoi(found->second);
  }
  std::string text(const std::string& name, const std::string& otherwise) const {
    const auto found = options.find(name);
    return found == options.end() ? otherwise : found->second;
  }
};

class SchedulerScript {
 public:
  std::string execute(const std::string& commands) {
    std::istringstream in(commands);
    std::string out;
    for (std::string line; std::getline(in, line);) out += execute_one(Command(line));
    return out;
  }

 private:
  std::string execute_one(const Command& command) {
    const std::string& verb = command.words.at(0);
    if (verb == "config") return configure(command);
    if (verb == "add") return add(command);
    if (verb == "step") return step(command);
    Sequence& sequence = simulation_->at(command.words.at(1));
    if (verb == "ready") {
      simulation_->scheduler().adapter_ready(sequence,
                                             static_cast<std::size_t>(command.number("bytes", 1)));
    } else if (verb == "remove") {
      simulation_->scheduler().remove(sequence);
    } else {
      return "unknown command " + verb + '\n';
    }
    simulation_->scheduler().check_invariants();
    return "";
  }

  std::string configure(const Command& command) {
    rows_ = command.number("rows", 16);
    simulation_ = std::make_unique<Simulation>(SchedulerLimits{
        .max_seqs = command.number("seqs", 8),
        .num_blocks = command.number("blocks", 16),
        .block_size = command.number("block_size", 4),
        .adapters = {.max_adapters = command.number("adapters", 8),
                     .max_bytes = static_cast<std::size_t>(command.number("adapter_bytes", 100))},
        .max_times_passed = command.number("max_passed", 32)});
    return "";
  }

  // Prompts that start with the same `text` share a prefix.
  std::string add(const Command& command) {
    const std::string& name = command.words.at(1);
    std::vector<TokenId> prompt(static_cast<std::size_t>(command.number("prompt", 4)));
    for (std::size_t i = 0; i < prompt.size(); ++i) {
      prompt[i] = static_cast<TokenId>(i) + 1000 * command.number("text", ++num_texts_);
    }
    Sequence& sequence =
        simulation_->add(name, prompt, command.number("max", 8), command.text("tenant", "t"),
                         command.number("adapter", 0));
    const int bytes = command.number("bytes", 1);
    if (sequence.adapter && bytes > 0) {
      simulation_->scheduler().adapter_ready(sequence, static_cast<std::size_t>(bytes));
    }
    return "";
  }

  std::string step(const Command& command) {
    std::string out;
    const StepBatch& batch = simulation_->step(command.number("rows", rows_));
    for (const Sequence* sequence : batch.preempted()) {
      out += simulation_->name_of(sequence) + ": preempted\n";
    }
    for (std::size_t i = 0; i < batch.entries().size(); ++i) {
      const auto [sequence, num_rows, catches_up, continues, num_outputs] = batch.entries()[i];
      const int first =
          simulation_->input()
              .positions[static_cast<std::size_t>(simulation_->input().seq_indptr[i])];
      out += simulation_->name_of(sequence) + ": " + std::to_string(first) + ".." +
             std::to_string(first + num_rows) + (catches_up ? " token" : "") +
             (sequence->state == SequenceState::kFinished ? " finished" : "") + '\n';
    }
    if (batch.empty()) out += "nothing to compute\n";
    return out + "free blocks: " + std::to_string(simulation_->scheduler().pool().num_free()) +
           '\n';
  }

  std::unique_ptr<Simulation> simulation_;
  int rows_ = 16;
  int num_texts_ = 0;
};

TEST(Scheduler, FollowsTheScript) {
  SchedulerScript script;
  run_script(TESSERA_TEST_DIR "/scripts/scheduler.txt",
             [&](const std::string& commands) { return script.execute(commands); });
}

// ---- properties ----

struct Mix {
  SchedulerLimits limits;
  int num_sequences;
  std::mt19937_64 random;

  explicit Mix(std::uint64_t seed) : random(seed) {
    limits.max_seqs = pick(1, 6);
    limits.num_blocks = pick(4, 16);
    limits.block_size = pick(1, 5);
    limits.adapters = {.max_adapters = pick(1, 3),
                       .max_bytes = static_cast<std::size_t>(pick(1, 6))};
    limits.max_times_passed = pick(0, 4);
    num_sequences = pick(1, 20);
  }
  int pick(int low, int high) {
    return low + static_cast<int>(random() % static_cast<std::uint64_t>(high - low + 1));
  }
};

// What a step must be, whatever the mix: within its budget and limits, never empty while anyone can
// run, each sequence at most once, its rows the next ones, its blocks enough and its own.
void expect_step_is_sound(const Mix& mix, Simulation& simulation, const StepBatch& batch,
                          int max_rows) {
  const StepInput& input = simulation.input();
  EXPECT_LE(batch.num_rows(), max_rows);
  EXPECT_LE(std::ssize(batch.entries()), mix.limits.max_seqs);
  std::set<const Sequence*> seen;
  std::set<std::optional<AdapterDigest>> adapters;
  std::map<BlockId, int> writers;
  for (std::size_t i = 0; i < batch.entries().size(); ++i) {
    const BatchEntry& entry = batch.entries()[i];
    EXPECT_TRUE(seen.insert(entry.sequence).second);
    adapters.insert(entry.sequence->adapter);
    const auto first = static_cast<std::size_t>(input.seq_indptr[i]);
    const auto last = static_cast<std::size_t>(input.seq_indptr[i + 1]);
    EXPECT_EQ(static_cast<int>(last - first), entry.num_rows);
    const auto table = input.blocks.subspan(
        static_cast<std::size_t>(input.block_indptr[i]),
        static_cast<std::size_t>(input.block_indptr[i + 1] - input.block_indptr[i]));
    std::set<BlockId> written;
    for (std::size_t row = first; row < last; ++row) {
      const auto position = static_cast<std::size_t>(input.positions[row]);
      EXPECT_EQ(input.tokens[row], entry.sequence->tokens[position]);
      const auto block = position / static_cast<std::size_t>(mix.limits.block_size);
      ASSERT_LT(block, table.size());
      written.insert(table[block]);
    }
    for (const BlockId block : written) ++writers[block];
  }
  EXPECT_LE(std::ssize(adapters), mix.limits.adapters.max_adapters);
  for (const auto& [block, count] : writers) EXPECT_EQ(count, 1) << "block " << block;
}

TEST(Scheduler, EveryMixRunsToItsEndWithinItsLimits) {
  constexpr std::uint64_t kSeed = 1000;
  for (std::uint64_t seed = kSeed; seed < kSeed + 1000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Mix mix(seed);
    Simulation simulation(mix.limits);
    const int capacity = mix.limits.num_blocks * mix.limits.block_size;
    std::vector<std::string> loading;
    int num_added = 0;
    for (int step = 0; num_added < mix.num_sequences || !simulation.all_finished(); ++step) {
      ASSERT_LT(step, 20'000) << "someone starves";
      if (num_added < mix.num_sequences && mix.pick(0, 2) == 0) {
        const std::string name = std::to_string(num_added++);
        const int total = mix.pick(2, capacity);
        const int prompt_size = mix.pick(1, total - 1);
        std::vector<TokenId> prompt;
        for (int i = 0; i < prompt_size; ++i) prompt.push_back(i / 7 * mix.pick(0, 1));
        const auto& sequence = simulation.add(name, prompt, total - prompt_size,
                                              std::to_string(mix.pick(0, 2)), mix.pick(0, 4));
        if (sequence.adapter) loading.push_back(name);
      }
      if (!loading.empty() && mix.pick(0, 1) == 0) {
        simulation.scheduler().adapter_ready(simulation.at(loading.back()),
                                             static_cast<std::size_t>(mix.pick(1, 4)));
        loading.pop_back();
      }
      if (num_added > 0 && mix.pick(0, 30) == 0) {
        Sequence& victim = simulation.at(std::to_string(mix.pick(0, num_added - 1)));
        std::erase(loading, simulation.name_of(&victim));
        if (victim.state != SequenceState::kFinished) simulation.scheduler().remove(victim);
      }
      const bool has_work =
          simulation.scheduler().num_running() + simulation.scheduler().num_waiting() > 0;
      const int max_rows = mix.pick(1, 20);
      const StepBatch& batch = simulation.step(max_rows);
      EXPECT_EQ(batch.empty(), !has_work);
      expect_step_is_sound(mix, simulation, batch, max_rows);
      ASSERT_FALSE(HasFailure());
    }
    EXPECT_EQ(simulation.scheduler().pool().num_free(), mix.limits.num_blocks);
    EXPECT_EQ(simulation.scheduler().num_running(), 0);
    EXPECT_EQ(simulation.scheduler().num_waiting(), 0);
    EXPECT_EQ(simulation.scheduler().num_waiting_for_adapter(), 0);
  }
}

TEST(Scheduler, ATenantThatAsksMoreIsServedNoMoreWhileOthersWait) {
  Simulation simulation({.max_seqs = 2, .num_blocks = 64, .block_size = 4, .adapters = {}});
  const std::vector<TokenId> prompt(8, 1);
  for (int i = 0; i < 50; ++i) simulation.add("flood" + std::to_string(i), prompt, 8, "flooder", 0);
  for (int i = 0; i < 5; ++i) simulation.add("calm" + std::to_string(i), prompt, 8, "calm", 0);
  const auto calm_is_done = [&] {
    return simulation.at("calm4").state == SequenceState::kFinished;
  };
  while (!calm_is_done()) simulation.step(16);
  int finished_floods = 0;
  for (int i = 0; i < 50; ++i) {
    const Sequence& flood = simulation.at("flood" + std::to_string(i));
    finished_floods += flood.state == SequenceState::kFinished ? 1 : 0;
  }
  EXPECT_LE(finished_floods, 6);
}

TEST(Scheduler, ATenantOfThreeTimesTheWeightIsServedThreeTimesAsMuch) {
  Simulation simulation({.max_seqs = 1, .num_blocks = 64, .block_size = 4, .adapters = {}});
  const std::vector<TokenId> prompt(8, 1);
  for (int i = 0; i < 40; ++i) {
    simulation.add("heavy" + std::to_string(i), prompt, 8, "heavy", 0).weight = 3;
    simulation.add("light" + std::to_string(i), prompt, 8, "light", 0);
  }
  const auto num_finished = [&](const std::string& who) {
    int finished = 0;
    for (int i = 0; i < 40; ++i) {
      finished += simulation.at(who + std::to_string(i)).state == SequenceState::kFinished ? 1 : 0;
    }
    return finished;
  };
  while (num_finished("heavy") < 30) simulation.step(16);
  EXPECT_NEAR(num_finished("light"), 10, 1);
}

}  // namespace
}  // namespace tessera
