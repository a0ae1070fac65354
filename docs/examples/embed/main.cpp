// Trains from C++, step by step: embed CONFIG.yaml MODEL.safetensors [key=value ...]
#include <octavo/octavo.h>

#include <cstdio>

namespace {

void train(const octavo::Config& config, const char* model) {
  octavo::Trainer trainer(config);
  std::printf("%s\n", trainer.precision_plan().c_str());
  while (trainer.steps_done() < trainer.total_steps()) {
    const octavo::StepReport step = trainer.step();
    if (step.step % trainer.steps_per_epoch() != 0 && step.step != trainer.total_steps()) continue;
    const octavo::EvalReport result = trainer.evaluate();
    std::printf("step %lld: loss %.4f, %s %.4f\n", static_cast<long long>(step.step), step.loss,
                result.metric_name.c_str(), result.metric);
  }
  const octavo::Int8MacShare share = trainer.int8_mac_share();
  std::printf("in integers: forward %.3f, grad_input %.3f, grad_weight %.3f\n", share.forward,
              share.grad_input, share.grad_weight);
  trainer.save_model(model);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: embed CONFIG.yaml MODEL.safetensors [key=value ...]\n");
    return 2;
  }
  try {
    train(octavo::Config::load(argv[1], {argv + 3, argv + argc}, octavo::catalog()), argv[2]);
    return 0;
  } catch (
      const octavo::Error& error) {  // the library throws nothing else of its own, never prints, never exits
    std::fprintf(stderr, "embed: %s\n", error.what());
    return static_cast<int>(error.code());
  }
}
