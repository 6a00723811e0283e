// step_stages_experts.cpp — the stages of a layer whose MLP is experts.
#include "kernels/cuda/expert_kernels.hpp"
#include "kernels/cuda/row_kernels.hpp"
#include "kernels/cuda/step_stages.hpp"

namespace tessera {

// Some of kExpertLinears, of all places, with their adapters.
void StepStages::multiply_expert_linears(int layer, int first, int count) {
  const DeviceExperts& experts = model_.layer(layer).experts;
  const bool reads_rows = first == 0;  // gate and up; down reads what they have put out
  ExpertLinears linears;
  linears.matrices = experts.table();
  linears.shape = spec_.expert_shape(kExpertLinears[static_cast<std::size_t>(first)]);
  linears.routing = on_experts_.routing.view();
  linears.y_stride = count * linears.shape.out_features;
  const float* x = reads_rows ? on_.input.data() : on_experts_.gated.data();
  const std::int32_t* x_rows = reads_rows ? linears.routing.row_of : nullptr;
  for (int i = first; i < first + count; ++i) {
    linears.first = i;
    linears.y = on_experts_.y.data() + (i - first) * linears.shape.out_features;
    linears.x = reads_rows ? on_.staged() : on_experts_.staged();
    linears.x_rows = x_rows;
    if (experts.has_order(i)) {
      linears.x = on_experts_.staged();
      linears.x_rows = nullptr;
      stage_experts(
          stream_,
          {linears.routing, linears.matrices, i, x, x_rows, linears.shape.in_features, linears.x},
          capacity_.rows);
    }
    for (const ExpertForm form : experts.forms(i)) {
      multiply_experts(stream_, linears, form, capacity_.rows);
    }
  }
  if (capacity_.has_lora) apply_expert_lora(layer, first, count, linears, x, x_rows);
}

void StepStages::apply_expert_lora(int layer, int first, int count, const ExpertLinears& linears,
                                   const float* x, const std::int32_t* x_rows) {
  LoraModules modules;
  modules.first_module = modules_.of_experts(layer, first);
  modules.expert_stride = kNumExpertLinears;
  modules.count = count;
  modules.in_features = linears.shape.in_features;
  modules.x = x;
  modules.x_rows = x_rows;
  modules.y_stride = linears.y_stride;
  for (int i = 0; i < count; ++i) {
    modules.out_features[i] = linears.shape.out_features;
    modules.y[i] = on_experts_.y.data() + i * linears.shape.out_features;
  }
  apply_lora(stream_, expert_lora_, modules, capacity_.rows * spec_.experts_per_token);
}

void StepStages::gate_up_experts(int layer) {
  const ExpertRouting& routing = on_experts_.routing.view();
  route_rows(stream_,
             {step_, on_.input.data(), model_.layer(layer).router.data(), spec_.hidden,
              spec_.normalise_expert_weights, routing},
             capacity_.rows);
  if (capacity_.has_lora) plan_expert_lora(stream_, expert_lora_, routing, capacity_.rows);
  multiply_expert_linears(layer, 0, 2);
  gate_rows(
      stream_,
      {routing.num_places(), on_experts_.y.data(), nullptr, nullptr, layer_spec(layer).activation,
       spec_.expert_intermediate, on_experts_.gated.data(), on_experts_.staged()},
      capacity_.rows * spec_.experts_per_token);
}

// Sums what the experts put out, to where a layer without them has the output of down.
void StepStages::down_experts(int layer) {
  multiply_expert_linears(layer, 2, 1);
  sum_experts(stream_,
              {step_, on_experts_.routing.view(), on_experts_.y.data(), spec_.hidden, on_.y.data()},
              capacity_.rows);
}

}  // namespace tessera
