# Included by llama.cpp's CMakeLists.txt, through CMAKE_PROJECT_llama.cpp_INCLUDE (scripts/venv).

# llama-cpp-python forces the common library on, but only mtmd uses it.
set(LLAMA_BUILD_COMMON OFF CACHE BOOL "Build llama.cpp common library" FORCE)

# Without dead store elimination, gcc compiles the AMX kernels correctly. The library records these
# switches, by which ner-edge knows that it may use the kernels (runtime/amx.py).
function(mend_amx)
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
        set_source_files_properties(
            "${CMAKE_CURRENT_SOURCE_DIR}/ggml/src/ggml-cpu/amx/mmq.cpp"
            DIRECTORY ggml/src
            PROPERTIES COMPILE_OPTIONS "-fno-dse;-fno-tree-dse;-frecord-gcc-switches"
        )
    endif()
endfunction()
cmake_language(DEFER CALL mend_amx)
