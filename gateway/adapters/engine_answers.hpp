// engine_answers.hpp — a few requests of the server's own, answered by the engine and waited for.
//
// Probe and acceptance checks are requests like any other: they stand in the queue under the name
// of the tenant who uploads, so they take that tenant's turns and nobody else's.
#pragma once

#include <functional>
#include <vector>

#include "engine/engine.hpp"
#include "storage/clock.hpp"
#include "storage/result.hpp"

namespace tessera {

struct EngineAnswer {
  std::vector<GeneratedToken> tokens;
  Finish finish;
};

struct AnswerPatience {
  SteadyTime until;                                       // when to give up
  std::function<bool()> given_up = [] { return false; };  // asked now and then
};

// The answers, in order, whatever their Finish says. The calling thread waits; on an error all that
// was begun is cancelled, and `broken_off` (if not null) is how far those came that had been begun.
// Errors: those of Engine::submit (a full queue is waited for);
// kServerIsOverloaded if it takes too long or was given up.
Result<std::vector<EngineAnswer>> answer_all(Engine& engine,
                                             std::vector<GenerationRequest> requests,
                                             const Clock& clock, const AnswerPatience& patience,
                                             std::vector<EngineAnswer>* broken_off = nullptr);

}  // namespace tessera
