"""The classes and functions that the pickles of tabular models may name, listed by library.

They were read from pickles of all models that `Customisation` admits, for two classes, for more, and for numbers. None
of the functions runs code that a pickle brings along. A new version of a library may need new names: a fit then fails
with an error that has the missing name.
"""

from __future__ import annotations

from multimodal_algo.predictors.pickles import Admitted

SHARED: Admitted = {
    "autogluon.common.features.feature_metadata": "FeatureMetadata",
    "autogluon.core.metrics": "_ClassScorer _PredictScorer _ProbaScorer _ThresholdScorer customized_log_loss rmse_func",
    "autogluon.features.generators.category": "CategoryFeatureGenerator",
    "autogluon.features.generators.memory_minimize": "CategoryMemoryMinimizeFeatureGenerator",
    # `pickles` puts a function in the place of getattr that finds members of enumerations alone
    "builtins": "dict getattr int list set slice",
    "collections": "OrderedDict defaultdict",
    "numpy": "bool dtype float32 float64 int32 int64 ndarray uint8",
    "numpy._core.multiarray": "_reconstruct scalar",
    "pandas._libs.arrays": "__pyx_unpickle_NDArrayBacked",
    "pandas._libs.internals": "_unpickle_block",
    "pandas.core.arrays.categorical": "Categorical",
    "pandas.core.dtypes.dtypes": "CategoricalDtype",
    "pandas.core.frame": "DataFrame",
    "pandas.core.indexes.base": "Index _new_Index",
    "pandas.core.indexes.range": "RangeIndex",
    "pandas.core.internals.managers": "BlockManager SingleBlockManager",
    "pandas.core.series": "Series",
    "sklearn.impute._base": "MissingIndicator SimpleImputer",
    "sklearn.pipeline": "Pipeline",
    "sklearn.preprocessing._data": "QuantileTransformer StandardScaler",
    "sklearn.preprocessing._encoders": "OneHotEncoder OrdinalEncoder",
    "sklearn.preprocessing._label": "LabelEncoder",
}
"""Those of AutoGluon's tabular models and of AutoMM."""

TABULAR: Admitted = {
    # AutoGluon's predictor, and how it prepares tables
    "autogluon.common.utils.cv_splitter": "CVSplitter",
    "autogluon.core.data.cleaner": "CleanerDummy CleanerMulticlass",
    "autogluon.core.data.label_cleaner": "LabelCleanerBinary LabelCleanerDummy LabelCleanerMulticlass",
    "autogluon.features.generators.bulk": "BulkFeatureGenerator",
    "autogluon.features.generators.identity": "IdentityFeatureGenerator",
    "autogluon.features.generators.label_encoder": "LabelEncoderFeatureGenerator",
    "autogluon.features.generators.one_hot_encoder": "CatToInt OneHotEncoderFeatureGenerator",
    "autogluon.tabular.learner.default_learner": "DefaultLearner",
    "autogluon.tabular.predictor.predictor": "TabularPredictor",
    "autogluon.tabular.trainer.auto_trainer": "AutoTrainer",
    "networkx.classes.coreviews": "AdjacencyView",
    "networkx.classes.digraph": "DiGraph",
    "networkx.classes.reportviews": "InEdgeView NodeView",
    "sklearn.model_selection._split": "LeaveOneGroupOut",
    # ensembles
    "autogluon.core.models.abstract._auxiliary_params": "ParamsAuxDict",
    "autogluon.core.models.abstract._mutation_deprecated_dict": "ParamsDict",
    "autogluon.core.models.dummy.dummy_model": "DummyModel",
    "autogluon.core.models.ensemble.stacker_ensemble_model": "StackerEnsembleModel",
    "autogluon.core.models.ensemble.weighted_ensemble_model": "WeightedEnsembleModel",
    "autogluon.core.models.greedy_ensemble.ensemble_selection": "EnsembleSelection",
    "autogluon.core.models.greedy_ensemble.greedy_weighted_ensemble_model": "GreedyWeightedEnsembleModel",
    "numpy.random._mt19937": "MT19937",
    "numpy.random._pickle": "__bit_generator_ctor __randomstate_ctor",
    # WIDE and TREES, the models of this package
    "multimodal_algo.core.linear": "Linear",
    "multimodal_algo.predictors.column_features": "Absent Bins Categories",
    "multimodal_algo.predictors.linear_features": "LinearFeatures _VectorScale",
    "multimodal_algo.predictors.linear_model": "MixedLinearModel",
    "multimodal_algo.predictors.tokens": "Tokens",
    "multimodal_algo.predictors.tree_features": "TreeFeatures",
    "multimodal_algo.predictors.tree_model": "MixedTreeModel",
    "multimodal_algo.predictors.word_features": "WordFeatures",
    # GBM, GBM_PREP, CAT, XGB
    "autogluon.tabular.models.catboost.catboost_model": "CatBoostModel",
    "autogluon.tabular.models.lgb.lgb_model": "LGBModel",
    "autogluon.tabular.models.tabprep.prep_lgb_model": "PrepLGBModel",
    "autogluon.tabular.models.xgboost.xgboost_model": "XGBoostModel",
    "autogluon.tabular.models.xgboost.xgboost_utils": "OheFeatureGenerator",
    "catboost.core": "CatBoostClassifier CatBoostRegressor",
    "lightgbm.basic": "Booster",
    "xgboost.sklearn": "XGBClassifier XGBRegressor",
    # RF, XT, KNN, LR, DUMMY
    "autogluon.tabular.models.knn._knn_loo_variants": "KNeighborsClassifier KNeighborsRegressor",
    "autogluon.tabular.models.knn.knn_model": "KNNModel",
    "autogluon.tabular.models.lr.lr_model": "LinearModel",
    "autogluon.tabular.models.lr.lr_preprocessing_utils": "OheFeaturesGenerator",
    "autogluon.tabular.models.rf.compilers.native": "AbstractNativeCompiler",
    "autogluon.tabular.models.rf.rf_model": "RFModel",
    "autogluon.tabular.models.xt.xt_model": "XTModel",
    "sklearn.compose._column_transformer": "ColumnTransformer",
    "sklearn.dummy": "DummyClassifier DummyRegressor",
    "sklearn.ensemble._forest": (
        "ExtraTreesClassifier ExtraTreesRegressor RandomForestClassifier RandomForestRegressor"
    ),
    "sklearn.linear_model._logistic": "LogisticRegression",
    "sklearn.linear_model._ridge": "Ridge",
    "sklearn.metrics._dist_metrics": "EuclideanDistance64 newObj",
    "sklearn.neighbors._classification": "KNeighborsClassifier",
    "sklearn.neighbors._kd_tree": "KDTree newObj",
    "sklearn.neighbors._regression": "KNeighborsRegressor",
    "sklearn.tree._classes": "DecisionTreeClassifier DecisionTreeRegressor ExtraTreeClassifier ExtraTreeRegressor",
    "sklearn.tree._tree": "Tree",
    # FT_TRANSFORMER, NN_TORCH, TABM
    "autogluon.tabular.models.automm.ft_transformer": "FTTransformerModel",
    "autogluon.tabular.models.tabm._tabm_internal": "RTDLQuantileTransformer TabMImplementation TabMOrdinalEncoder",
    "autogluon.tabular.models.tabm.rtdl_num_embeddings": (
        "LinearEmbeddings PiecewiseLinearEmbeddings _NLinear _PiecewiseLinearEncodingImpl"
    ),
    "autogluon.tabular.models.tabm.tabm_model": "TabMModel",
    "autogluon.tabular.models.tabm.tabm_reference": "MLP Model NLinear OneHotEncoding0d ScaleEnsemble",
    "autogluon.tabular.models.tabular_nn.compilers.native": "AbstractNativeCompiler",
    "autogluon.tabular.models.tabular_nn.torch.torch_network_modules": "EmbedNet",
    "autogluon.tabular.models.tabular_nn.torch.tabular_nn_torch": "TabularNeuralNetTorchModel",
    "autogluon.tabular.models.tabular_nn.utils.categorical_encoders": (
        "OneHotMergeRaresHandleUnknownEncoder OrdinalMergeRaresHandleUnknownEncoder"
    ),
    "torch": "device",
    "torch._utils": "_rebuild_parameter _rebuild_tensor_v2",
    "torch.nn.modules.activation": "ReLU Softmax",
    "torch.nn.modules.container": "ModuleList Sequential",
    "torch.nn.modules.dropout": "Dropout",
    "torch.nn.modules.linear": "Linear",
    "torch.nn.modules.sparse": "Embedding",
    # `pickles` puts a function in its place that loads weights alone
    "torch.storage": "_load_from_bytes",
}
"""Those of the models for tables."""
